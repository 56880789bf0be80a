// Emergencies: no consent is asked for, and everybody whom it concerns can see it afterwards.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually } from '../lib/members.mjs';
import { fresh } from '../lib/numbers.mjs';
import { found, kit, refused } from './lib/clients.mjs';
import { person } from './lib/people.mjs';
import { created, few } from './lib/patients.mjs';
import { credential } from './lib/registry.mjs';

const glass = { headers: { 'x-purpose-of-use': 'ETREAT', 'x-emergency-reason': 'UNCONSCIOUS', 'x-emergency-place': 'ER-1' } };
let doctor;
let nurse;
let patient;
let auditor;
let reviewer;
let certifier;
let clerk;
const pid = fresh('pid');
let who;
let lab;

before(async () => {
    who = few(2);
    const [records, physician, carer, subject, watching, certifying] = await Promise.all([
        person('clinic', 'records'), person('clinic', 'physician', { 'hc.pid': pid }), person('clinic', 'nurse'),
        person('clinic', 'patient', { 'hc.sid': who.sid }), person('regulator', 'auditor'), person('regulator', 'certifier'),
    ]);
    [doctor, nurse, patient, auditor] = await Promise.all([physician, carer, subject, watching].map((each) => kit(each)));
    reviewer = watching.sdk();
    certifier = certifying.sdk();
    clerk = records.sdk();
    lab = created(await (await kit(records)).transaction({ body: who.bundle })).Observation[0];
    await patient.create({
        resourceType: 'Consent',
        body: {
            resourceType: 'Consent',
            status: 'active',
            scope: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/consentscope', code: 'patient-privacy' }] },
            category: [{ coding: [{ system: 'http://loinc.org', code: '59284-0' }] }],
            patient: { identifier: { system: 'urn:consilium', value: who.sid } },
            policyRule: { text: 'Nobody.' },
            provision: {
                type: 'deny',
                period: { end: new Date(Date.now() + 86_400_000).toISOString().slice(0, 10) },
                actor: [{ role: { text: 'x' }, reference: { identifier: { system: 'urn:consilium:msp', value: 'ClinicMSP' } } }],
            },
        },
    });
});

after(() => {
    reviewer.close();
    certifier.close();
    clerk.close();
});

const read = (client, options) => client.read({ resourceType: 'Observation', id: lab, options });
const accounting = async (client) => found(await client.operation({
    resourceType: 'AuditEvent', name: '$accounting', method: 'GET', input: { patient: who.sid },
}));

test('an emergency has a reason and a place, and is a physician’s', async () => {
    await refused(read(doctor), 403, 'forbidden', 'CONSENT_DENY');
    await refused(read(doctor, { headers: { 'x-purpose-of-use': 'ETREAT' } }), 422, 'business-rule', 'NO_REASON');
    assert.equal((await read(doctor, glass)).id, lab);
    await refused(read(nurse, glass), 403, 'forbidden', 'CREDENTIAL');
});

test('the patient and the auditor see each try; others do not', async () => {
    for (const client of [patient, auditor]) {
        // The auditor's peer may be a moment behind; within one second there is no order.
        const [events, broken] = await eventually(async () => {
            const all = await accounting(client);
            const tries = all.filter(({ purposeOfEvent }) => purposeOfEvent[0].coding[0].code === 'ETREAT')
                .sort((a, b) => a.outcome - b.outcome);
            assert.deepEqual(tries.map(({ outcome, agent }) => [outcome, agent[0].role[0].coding[0].code]), [['0', 'physician'], ['8', 'nurse']]);
            return [all, tries];
        });
        assert.ok(broken[0].entity[0].detail.some(({ type, valueString }) => type === 'emergency' && valueString === 'UNCONSCIOUS'));
        assert.equal(events.filter(({ outcomeDesc }) => outcomeDesc === 'CONSENT_DENY').length, 1);
    }
    await refused(accounting(doctor), 403, 'forbidden', 'WRONG_ORG');
    const stranger = await kit(await person('clinic', 'patient', { 'hc.sid': 'B'.repeat(26) }));
    await refused(accounting(stranger), 403, 'forbidden', 'WRONG_ORG');
});

test('an emergency is reviewed by the regulator’s auditor, once', async () => {
    const [{ id }] = (await accounting(auditor)).filter(({ purposeOfEvent, outcome }) => purposeOfEvent[0].coding[0].code === 'ETREAT' && outcome === '0');
    const open = JSON.parse(Buffer.from(await reviewer.contract('records').evaluate('OpenReviews', { arguments: ['{}'] })));
    assert.ok(JSON.stringify(open).includes(id), 'the review is open');
    await reviewer.does('records', 'ReviewBreakGlass', { accessId: id, verdict: 'Justified' });
    const event = await auditor.read({ resourceType: 'AuditEvent', id });
    assert.ok(event.entity[0].detail.some(({ type, valueString }) => type === 'state' && valueString === 'Justified'));
    await assert.rejects(reviewer.does('records', 'ReviewBreakGlass', { accessId: id, verdict: 'Abuse' }));
});

test('A7: where the registry counts, a suspended credential breaks no glass, and an active one does', async () => {
    const credId = await credential(certifier, clerk, 'clinic', pid);
    await certifier.does('records', 'Configure', { registry: 'providers' });
    try {
        await eventually(() => read(doctor, glass));
        await certifier.does('providers', 'SuspendCredential', { credId, reasonCode: 'MISCONDUCT' });
        await eventually(() => refused(read(doctor, glass), 403, 'forbidden', 'CREDENTIAL'));
        await certifier.does('providers', 'ReinstateCredential', { credId, reasonCode: 'CLEARED' });
        const opened = await eventually(() => read(doctor, glass));
        assert.equal(opened.id, lab);
        await refused(read(nurse, glass), 403, 'forbidden', 'CREDENTIAL');
    } finally {
        await certifier.does('records', 'Configure', {});
    }
    const events = await accounting(patient);
    const denied = events.filter(({ outcomeDesc, agent }) => outcomeDesc === 'CREDENTIAL' && agent[0].altId === pid);
    assert.ok(denied.length >= 1, JSON.stringify(events.map(({ outcomeDesc }) => outcomeDesc)));
    const open = JSON.parse(Buffer.from(await reviewer.contract('records').evaluate('OpenReviews', { arguments: ['{}'] })));
    const broken = events.filter(({ outcomeDesc, agent }) => outcomeDesc === 'EMERGENCY' && agent[0].altId === pid);
    assert.ok(broken.some(({ id }) => JSON.stringify(open).includes(id)), 'a review is open');
});
