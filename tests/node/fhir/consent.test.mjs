// What a patient permits, and to whom: as the clinic's gateway decides, and as another organization's
// people find it who ask the same contract by Fabric's SDK.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { EndorseError, StatusCode } from '@hyperledger/fabric-gateway';
import { eventually } from '../lib/members.mjs';
import { found, kit, parameter, refused, transactionOf } from './lib/clients.mjs';
import { chain, transaction } from './lib/blocks.mjs';
import { person } from './lib/people.mjs';
import { created, few } from './lib/patients.mjs';

const HOUR = 3_600_000;
let clerk;
let researcher; // The clinic's own physician, for a purpose that the law does not permit by itself.
let doctor; // The hospital's, by the SDK.
let patient;
let auditor;
let who;
let ids;
let lab;
let imaging;

const consent = (classes, { purpose = 'TREAT', actor = 'HospitalMSP', type = 'permit' } = {}) => ({
    resourceType: 'Consent',
    status: 'active',
    scope: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/consentscope', code: 'patient-privacy' }] },
    category: [{ coding: [{ system: 'http://loinc.org', code: '59284-0' }] }],
    patient: { reference: `Patient/${ids.Patient[0]}` },
    policyRule: { text: 'The provision below.' },
    provision: {
        type,
        period: { end: new Date(Date.now() + 30 * 24 * HOUR).toISOString().slice(0, 10) },
        actor: [{ role: { text: 'recipient' }, reference: { identifier: { system: 'urn:consilium:msp', value: actor } } }],
        purpose: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-ActReason', code: purpose }],
        class: classes.map((code) => ({ system: 'urn:consilium:record-kind', code })),
    },
});

const give = (given) => patient.create({ resourceType: 'Consent', body: given });
const withdraw = async ({ id }) => {
    const body = await patient.read({ resourceType: 'Consent', id });
    return patient.update({ resourceType: 'Consent', id, body: { ...body, status: 'inactive' } });
};

before(async () => {
    who = few(4);
    const [records, physician, subject, other, watching] = await Promise.all([
        person('clinic', 'records'), person('clinic', 'physician'), person('clinic', 'patient', { 'hc.sid': who.sid }),
        person('hospital', 'physician'), person('regulator', 'auditor'),
    ]);
    clerk = await kit(records);
    researcher = await kit(physician, { purpose: 'PUBHLTH' });
    patient = await kit(subject);
    auditor = await kit(watching);
    doctor = other.sdk();
    ids = created(await clerk.transaction({ body: who.bundle }));
    lab = ids.Observation[0];
    [imaging] = ids.ImagingStudy;
});

after(() => doctor.close());

// The contract's answer to the hospital's physician.
async function decides(id, purpose = 'TREAT') {
    const accessId = randomUUID();
    const { decision, code } = await doctor.does('records', 'RequestAccess', { accessId, target: { records: [id] }, purpose });
    return { accessId, decision, code };
}

const details = (event) => Object.fromEntries(event.entity[0].detail.map(({ type, valueString }) => [type, valueString]));

test('A3: without consent a read is denied, and the denial is an audit event', async () => {
    const denied = await decides(lab);
    assert.deepEqual([denied.decision, denied.code], ['Denied', 'NO_CONSENT']);
    const issue = await refused(researcher.read({ resourceType: 'Observation', id: lab }), 403, 'forbidden', 'NO_CONSENT');
    const [, here] = issue.diagnostics.match(/access ([0-9a-f-]{36})/);
    for (const reader of [patient, auditor]) {
        for (const [id, org, purpose] of [[denied.accessId, 'HospitalMSP', 'TREAT'], [here, 'ClinicMSP', 'PUBHLTH']]) {
            // The auditor's peer may be a moment behind.
            const event = await eventually(async () => {
                const events = found(await reader.search({ resourceType: 'AuditEvent', searchParams: { patient: who.sid, outcome: '8' } }));
                return events.find((entry) => entry.id === id) ?? assert.fail(`no denial ${id} of ${org}`);
            });
            assert.equal(event.agent[0].who.identifier.value, org);
            assert.equal(event.agent[0].role[0].coding[0].code, 'physician');
            assert.equal(event.purposeOfEvent[0].coding[0].code, purpose);
            assert.deepEqual([details(event).code, details(event).consent], ['NO_CONSENT', 'none']);
        }
    }
    await refused(researcher.search({ resourceType: 'AuditEvent', searchParams: { patient: who.sid } }), 403, 'forbidden', 'WRONG_ORG');
    // One decision is read by the organization that asked, and by the custodian.
    assert.equal((await researcher.read({ resourceType: 'AuditEvent', id: denied.accessId })).outcome, '8');
    const insurer = await kit(await person('insurer', 'adjudicator'));
    await refused(insurer.read({ resourceType: 'AuditEvent', id: denied.accessId }), 404, 'not-found', 'NOT_FOUND');
});

test('A4: a consent opens what it names, and no more', async () => {
    await refused(clerk.create({ resourceType: 'Consent', body: consent(['lab']) }), 403, 'forbidden', 'NOT_SUBJECT');
    const stranger = await kit(await person('clinic', 'patient', { 'hc.sid': 'A'.repeat(26) }));
    await refused(stranger.create({ resourceType: 'Consent', body: consent(['lab']) }), 403, 'forbidden', 'NOT_SUBJECT');
    const given = await give(consent(['lab']));
    assert.equal(given.status, 'active');
    assert.deepEqual(await decides(lab).then(({ code }) => code), 'CONSENT');
    assert.deepEqual(await decides(imaging).then(({ code }) => code), 'NO_CONSENT');
    assert.deepEqual(await decides(lab, 'HOPERAT').then(({ code }) => code), 'NO_CONSENT');
    const listed = await patient.search({ resourceType: 'Consent', searchParams: { patient: who.sid, status: 'active' } });
    assert.deepEqual(found(listed).map(({ id }) => id), [given.id]);
    await withdraw(given);
});

test('A4: at the gateway too, with Provenance and a hash that fits', async () => {
    const given = await give(consent(['lab'], { actor: 'ClinicMSP', purpose: 'PUBHLTH' }));
    const read = await researcher.read({ resourceType: 'Observation', id: lab });
    const provenance = await researcher.read({ resourceType: 'Provenance', id: transactionOf(read) });
    assert.equal(provenance.agent[0].who.identifier.value, 'ClinicMSP');
    const verified = await researcher.operation({ resourceType: 'Observation', id: lab, name: '$verify', method: 'GET' });
    assert.equal(parameter(verified, 'result'), 'Intact');
    await refused(researcher.read({ resourceType: 'ImagingStudy', id: imaging }), 403, 'forbidden', 'NO_CONSENT');
    // A question leaves nothing behind.
    const peer = chain('clinic');
    const height = await peer.height();
    for (const [target, expected] of [[`Observation/${lab}`, 'Permitted'], [`ImagingStudy/${imaging}`, 'Denied']]) {
        const told = await researcher.operation({ resourceType: 'Consent', name: '$evaluate', method: 'GET', input: { target } });
        assert.equal(parameter(told, 'decision'), expected, JSON.stringify(told));
    }
    assert.equal(await peer.height(), height);
    peer.close();
    await refused(patient.update({ resourceType: 'Consent', id: given.id, body: given }), 422, 'business-rule', 'CONSENT');
    assert.equal((await withdraw(given)).status, 'inactive');
    await refused(researcher.read({ resourceType: 'Observation', id: lab }), 403, 'forbidden', 'NO_CONSENT');
    await refused(withdraw(given), 409, 'conflict', 'BAD_STATE');
});

test('a denial wins over a permission, and over the law', async () => {
    const permit = await give(consent([]));
    const deny = await give(consent(['lab'], { type: 'deny' }));
    assert.equal((await decides(lab)).code, 'CONSENT_DENY');
    assert.equal((await decides(imaging)).code, 'CONSENT');
    await withdraw(permit);
    await withdraw(deny);
    const own = await give(consent(['lab'], { type: 'deny', actor: 'ClinicMSP' }));
    const treating = await kit(await person('clinic', 'physician'), { purpose: 'TREAT' });
    await refused(treating.read({ resourceType: 'Observation', id: lab }), 403, 'forbidden', 'CONSENT_DENY');
    await withdraw(own);
    assert.equal((await treating.read({ resourceType: 'Observation', id: lab })).id, lab);
});

test('A5: none of fifty accesses that race a withdrawal is permitted after its block, or released', async () => {
    const given = await give(consent(['lab']));
    const contract = doctor.contract('records');
    const race = async () => {
        const accessId = randomUUID();
        const args = { arguments: [JSON.stringify({ accessId, target: { records: [lab] }, purpose: 'TREAT' })] };
        let sent;
        try {
            sent = await contract.submitAsync('RequestAccess', args);
        } catch (error) {
            // One peer has the withdrawal already and another has not: they sign no common result.
            assert.ok(error instanceof EndorseError, String(error));
            return { accessId };
        }
        const { code, blockNumber } = await sent.getStatus();
        return { accessId, code, blockNumber: Number(blockNumber), verdict: JSON.parse(Buffer.from(sent.getResult())) };
    };
    const racers = Array.from({ length: 50 }, (_, n) => new Promise((resolve) => { setTimeout(resolve, n * 20); }).then(race));
    await new Promise((resolve) => { setTimeout(resolve, 400); });
    const revoked = await withdraw(given);
    const outcomes = (await Promise.all(racers)).filter(({ code }) => code !== undefined);
    const peer = chain('hospital');
    const { block } = transaction(await peer.holding(transactionOf(revoked)), transactionOf(revoked));
    peer.close();
    for (const { code, blockNumber, verdict } of outcomes) {
        if (code !== StatusCode.VALID) {
            assert.ok([StatusCode.MVCC_READ_CONFLICT, StatusCode.PHANTOM_READ_CONFLICT].includes(code), String(code));
        } else if (verdict.decision === 'Permitted') {
            assert.ok(blockNumber <= block, `permitted in block ${blockNumber}, withdrawn in ${block}`);
        } else {
            assert.equal(verdict.code, 'NO_CONSENT');
            assert.ok(blockNumber >= block);
        }
    }
    const permitted = outcomes.filter(({ code, verdict }) => code === StatusCode.VALID && verdict.decision === 'Permitted');
    assert.ok(permitted.length > 0, 'some came before');
    assert.ok(outcomes.some(({ verdict }) => verdict.decision === 'Denied') || permitted.length < 50, 'some came after');
    // Nobody releases a key for what was permitted before.
    const keeper = (await person('clinic', 'records')).sdk();
    await assert.rejects(
        keeper.does('records', 'ConfirmRelease', { accessId: permitted[0].accessId, keyFingerprint: 'a'.repeat(64) }),
        /NO_CONSENT/,
    );
    keeper.close();
    const states = found(await patient.search({ resourceType: 'AuditEvent', searchParams: { patient: who.sid } }))
        .filter(({ id }) => outcomes.some(({ accessId }) => accessId === id))
        .map((event) => details(event).state);
    assert.ok(states.length >= permitted.length && !states.includes('Released'), states.join(' '));
});

test('what the contract cannot hold is refused where it stands', async () => {
    const { period, ...endless } = consent(['lab']).provision;
    for (const [provision, path] of [
        [endless, 'Consent.provision.period.end'],
        [{ ...endless, period, actor: [{ role: { text: 'x' }, reference: { reference: 'Practitioner/1' } }] }, 'Consent.provision.actor[0].reference'],
    ]) {
        const issue = await refused(give({ ...consent([]), provision }), 422, 'business-rule', 'CONSENT');
        assert.equal(issue.expression[0], path);
    }
});
