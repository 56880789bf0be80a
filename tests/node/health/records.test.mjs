// Health records, from the view of the clinic that keeps them, a physician elsewhere, the patient, a guardian,
// an insurer and the authority.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { StatusCode } from '@hyperledger/fabric-gateway';
import { disconnect } from '../lib/members.mjs';
import { DAY, fresh, now, pseudonym, sha256 } from '../lib/numbers.mjs';
import { Actor, commits } from './lib/actors.mjs';
import { auditor, practitioner, reinstates, suspends } from './lib/registry.mjs';
import { assertNothingLeaks, eventsOf } from './lib/story.mjs';

after(disconnect);

const sid = pseudonym();
const guardianSid = pseudonym();
const patient = new Actor('citizen', 'patient', { 'hc.sid': sid });
const stranger = new Actor('citizen', 'patient', { 'hc.sid': pseudonym() });
const guardian = new Actor('citizen', 'guardian', { 'hc.sid': guardianSid });
const dpo = new Actor('clinic', 'dpo');
const insurer = new Actor('insurer', 'adjudicator');
// Of the document and its patient, which never leave the clinic's vault.
const person = { name: 'Johnnie679 Hermiston71', nationalId: '11010519491231002X', birth: '1949-12-31', result: 'HbA1c 7.9 % (NGSP)' };
const ids = { lab: fresh('rec'), image: fresh('rec'), note: fresh('rec') };
// What encryption makes of it: random bytes.
const ciphertext = (id) => `ciphertext of ${id}`;
const entry = (id, kind, more = {}) => ({
    id, sid, kind, ctHash: sha256(ciphertext(id)), ptCommit: sha256(fresh(person.result)), size: 100, suite: 'A256GCM', epoch: 1,
    vaultRef: `vault:${id}`, fhir: [`Observation/${id}`], ...more,
});
const access = (accessId, record, more = {}) =>
    ({ accessId, target: { records: [record] }, purpose: 'TREAT', purposeRef: `Encounter/${fresh('e')}`, ...more });
const consent = (id, provision = {}) => ({
    sid,
    consent: {
        id,
        period: { to: now() + 30 * DAY },
        provisions: [{ type: 'permit', orgs: ['HospitalMSP'], purposes: ['TREAT'], kinds: ['lab'], obligations: ['NO_ONWARD'], ...provision }],
    },
});

let clerk;
let physician;
let hospitalClerk;

before(async () => {
    clerk = await practitioner('clinic', 'records');
    physician = await practitioner('hospital', 'physician');
    hospitalClerk = await practitioner('hospital', 'records');
});

// The code of a decision that is committed, whichever it is.
async function decides(who, name, args) {
    const verdict = await who.does('records', name, args);
    assert.equal(verdict.id, args.accessId);
    return verdict.code;
}

test('a clinic registers fingerprints, and whoever has a document compares', async () => {
    const records = [entry(ids.lab, 'lab'), entry(ids.image, 'imaging'), entry(ids.note, 'clinical-note', { confidentiality: 'V' })];
    await new Actor('clinic', 'records').isRefused('records', 'RegisterRecords', { records }, 403, 'CREDENTIAL');
    await insurer.isRefused('records', 'RegisterRecords', { records }, 403, 'WRONG_ORG');
    const named = [entry(fresh('rec'), 'lab', { fhir: [`Patient/${fresh('p')}`] })];
    await clerk.isRefused('records', 'RegisterRecords', { records: named }, 422, 'PERSON_REFERENCE');
    const text = [entry(fresh('rec'), 'lab', { kind: person.result })];
    await clerk.isRefused('records', 'RegisterRecords', { records: text }, 400, 'MALFORMED');
    assert.equal((await clerk.does('records', 'RegisterRecords', { records })).state, 'Current');
    await clerk.isRefused('records', 'RegisterRecords', { records }, 409, 'DUPLICATE');
    const verify = async (bytes) => (await insurer.asks('records', 'Verify', { id: ids.lab, ctHash: sha256(bytes) })).code;
    assert.equal(await verify(ciphertext(ids.lab)), 'OK');
    assert.equal(await verify(`${ciphertext(ids.lab)}.`), 'TAMPERED');
    await hospitalClerk.isRefused('records', 'MarkError', { id: ids.lab, reasonCode: 'WRONG' }, 403, 'NOT_CUSTODIAN');
    await clerk.isRefused('records', 'AmendRecord', { ifVersion: 2, entry: entry(ids.image, 'imaging') }, 412, 'VERSION');
    await clerk.does('records', 'AmendRecord', { ifVersion: 1, entry: entry(ids.image, 'imaging') });
    assert.equal((await patient.asks('records', 'ReadRecord', { id: ids.image })).version, 2);
    const listed = await physician.asks('records', 'ListRecords', { sid, kinds: ['lab'] });
    assert.deepEqual(listed.entries.map(({ id }) => id), [ids.lab]);
});

const consents = [fresh('con'), fresh('con')];
const granted = fresh('acc');

test('without consent a physician is denied, which is evidence; with consent permitted', async () => {
    const first = fresh('acc');
    assert.equal(await decides(physician, 'RequestAccess', access(first, ids.lab)), 'NO_CONSENT');
    const seen = await auditor.asks('records', 'ReadAccess', { accessId: first });
    assert.deepEqual([seen.org, seen.role, seen.pid, seen.purpose], ['HospitalMSP', 'physician', physician.pid, 'TREAT']);
    await insurer.isNotAnswered('records', 'ReadAccess', { accessId: first }, 404, 'NOT_FOUND');

    await stranger.isRefused('records', 'PutConsent', consent(consents[0]), 403, 'NOT_SUBJECT');
    await physician.isRefused('records', 'PutConsent', consent(consents[0]), 403, 'NOT_SUBJECT');
    await patient.isRefused('records', 'PutConsent', consent(consents[0], { purposes: [] }), 422, 'NO_PURPOSE');
    await patient.does('records', 'PutConsent', consent(consents[0]));
    await patient.isRefused('records', 'PutConsent', consent(consents[0]), 409, 'DUPLICATE');
    const dry = await physician.asks('records', 'EvaluateAccess', { target: { records: [ids.lab] }, purpose: 'TREAT' });
    assert.deepEqual([dry.decision, dry.code], ['Permitted', 'CONSENT']);
    assert.equal(await decides(physician, 'RequestAccess', access(granted, ids.lab)), 'CONSENT');
    // The consent is for laboratory results, and nothing reaches what is very restricted.
    assert.equal(await decides(physician, 'RequestAccess', access(fresh('acc'), ids.image)), 'NO_CONSENT');
    assert.equal(await decides(insurer, 'RequestAccess', access(fresh('acc'), ids.lab)), 'NO_CONSENT');
    await physician.isRefused('records', 'RequestAccess', access(granted, ids.lab), 409, 'DUPLICATE');
    await physician.isRefused('records', 'RequestAccess', access(fresh('acc'), fresh('rec')), 404, 'NOT_FOUND');
});

test('a key is released to whom it was permitted, and a changed copy is told', async () => {
    const release = { accessId: granted, keyFingerprint: sha256(fresh('key')) };
    await hospitalClerk.isRefused('records', 'ConfirmRelease', release, 403, 'NOT_CUSTODIAN');
    await physician.isRefused('records', 'ConfirmRelease', release, 403, 'WRONG_ROLE');
    assert.equal((await clerk.does('records', 'ConfirmRelease', release)).state, 'Released');
    const receipt = (bytes) => ({ accessId: granted, received: [{ id: ids.lab, ctHash: sha256(bytes) }] });
    await clerk.isRefused('records', 'ConfirmReceipt', receipt(ciphertext(ids.lab)), 403, 'NOT_REQUESTER');
    const tampered = await physician.does('records', 'ConfirmReceipt', receipt('something else'));
    assert.deepEqual([tampered.state, tampered.code], ['Tampered', 'TAMPERED']);
});

const emergency = fresh('acc');

test('a suspended physician is denied, and sees nothing that was permitted before', async () => {
    const [before, raced] = [fresh('acc'), fresh('acc')];
    assert.equal(await decides(physician, 'RequestAccess', access(before, ids.lab)), 'CONSENT');
    const endorsed = await physician.endorses('records', 'RequestAccess', access(raced, ids.lab));
    await suspends(physician.credentials.physician);
    try {
        // Endorsed before the suspension, committed after it.
        assert.equal(await commits(endorsed), StatusCode.MVCC_READ_CONFLICT);
        const [asked, broken] = [fresh('acc'), fresh('acc')];
        assert.equal(await decides(physician, 'RequestAccess', access(asked, ids.lab)), 'CREDENTIAL');
        const glass = { accessId: broken, target: { records: [ids.lab] }, reasonCode: 'UNCONSCIOUS', placeRef: 'Location/er' };
        assert.equal(await decides(physician, 'BreakGlass', glass), 'CREDENTIAL');
        for (const accessId of [asked, broken]) {
            assert.equal((await auditor.asks('records', 'ReadAccess', { accessId })).standing, 'SUSPENDED');
        }
        await clerk.isRefused('records', 'ConfirmRelease', { accessId: before, keyFingerprint: sha256('key') }, 403, 'CREDENTIAL');
    } finally {
        await reinstates(physician.credentials.physician);
    }
});

test('in an emergency the glass is broken, and somebody else reviews it', async () => {
    const glass = { accessId: emergency, target: { records: [ids.note] }, reasonCode: 'UNCONSCIOUS', placeRef: 'Location/er' };
    assert.equal(await decides(insurer, 'BreakGlass', { ...glass, accessId: fresh('acc') }), 'CREDENTIAL');
    assert.equal(await decides(physician, 'BreakGlass', glass), 'EMERGENCY');
    const open = await auditor.asks('records', 'OpenReviews');
    assert.ok(JSON.stringify(open).includes(emergency));
    await clerk.isRefused('records', 'ReviewBreakGlass', { accessId: emergency, verdict: 'Justified' }, 403, 'WRONG_ORG');
    await auditor.does('records', 'ReviewBreakGlass', { accessId: emergency, verdict: 'Justified' });
    await auditor.isRefused('records', 'ReviewBreakGlass', { accessId: emergency, verdict: 'Abuse' }, 409, 'BAD_STATE');
});

test('a guardian speaks for the patient while linked, and what they deny is denied', async () => {
    const link = { guardianSid, sid, until: now() + 90 * DAY, evidenceHash: sha256(fresh('birth')) };
    await guardian.isRefused('records', 'PutConsent', consent(consents[1], { type: 'deny' }), 403, 'NOT_SUBJECT');
    await new Actor('citizen', 'issuer').does('records', 'LinkGuardian', link);
    await guardian.does('records', 'PutConsent', consent(consents[1], { type: 'deny' }));
    assert.equal(await decides(physician, 'RequestAccess', access(fresh('acc'), ids.lab)), 'CONSENT_DENY');
    await guardian.does('records', 'RevokeConsent', { sid, id: consents[1] });
    // Revoked between the endorsement and the commit: what was endorsed on it is invalid.
    const endorsed = await physician.endorses('records', 'RequestAccess', access(fresh('acc'), ids.lab));
    await patient.does('records', 'RevokeConsent', { sid, id: consents[0] });
    const code = await commits(endorsed);
    assert.ok([StatusCode.MVCC_READ_CONFLICT, StatusCode.PHANTOM_READ_CONFLICT].includes(code), String(code));
    assert.equal(await decides(patient, 'RequestAccess', access(fresh('acc'), ids.lab, { purpose: 'PATRQT' })), 'SUBJECT');
    assert.equal(await decides(stranger, 'RequestAccess', access(fresh('acc'), ids.lab, { purpose: 'PATRQT' })), 'NO_CONSENT');
    await new Actor('citizen', 'issuer').does('records', 'UnlinkGuardian', { guardianSid, sid });
    await guardian.isNotAnswered('records', 'Accounting', { sid }, 403, 'WRONG_ORG');
});

test('custody goes over when the receiver has what was sent', async () => {
    const offer = { id: ids.image, to: 'HospitalMSP' };
    await hospitalClerk.isRefused('records', 'TransferCustody', { ...offer, to: 'ClinicMSP' }, 403, 'NOT_CUSTODIAN');
    await clerk.isRefused('records', 'TransferCustody', { ...offer, to: 'ClinicMSP' }, 422, 'SELF_TRANSFER');
    await clerk.does('records', 'TransferCustody', offer);
    const arrived = (bytes) => ({ id: ids.image, ctHash: sha256(bytes), vaultRef: `vault:${fresh('v')}` });
    await clerk.isRefused('records', 'AcceptCustody', arrived(ciphertext(ids.image)), 403, 'NOT_RECEIVER');
    await hospitalClerk.isRefused('records', 'AcceptCustody', arrived('something else'), 422, 'TAMPERED');
    await hospitalClerk.does('records', 'AcceptCustody', arrived(ciphertext(ids.image)));
    assert.equal((await patient.asks('records', 'ReadRecord', { id: ids.image })).custodian, 'HospitalMSP');
});

test('a patient is told who looked, and is forgotten on request', async () => {
    const account = await patient.asks('records', 'Accounting', { sid });
    // Of those within a second, the order is that of their ids.
    assert.deepEqual(account.entries.map(({ code }) => code).sort(), [
        'CONSENT', 'CONSENT', 'CONSENT_DENY', 'CREDENTIAL', 'CREDENTIAL', 'CREDENTIAL', 'EMERGENCY', 'NO_CONSENT', 'NO_CONSENT',
        'NO_CONSENT', 'NO_CONSENT', 'SUBJECT',
    ]);
    const times = account.entries.map(({ at }) => at);
    assert.deepEqual(times, [...times].sort());
    await physician.isNotAnswered('records', 'Accounting', { sid }, 403, 'WRONG_ORG');
    const eraseId = fresh('erase');
    await stranger.isRefused('records', 'RequestErasure', { eraseId, sid, custodian: 'ClinicMSP' }, 403, 'NOT_SUBJECT');
    await patient.does('records', 'RequestErasure', { eraseId, sid, custodian: 'ClinicMSP' });
    await new Actor('hospital', 'dpo').isRefused('records', 'DecideErasure', { eraseId, verdict: 'Accepted' }, 403, 'NOT_CUSTODIAN');
    await dpo.isRefused('records', 'DecideErasure', { eraseId, verdict: 'Retained' }, 422, 'GROUND');
    await dpo.does('records', 'DecideErasure', { eraseId, verdict: 'Accepted' });
    const attested = { eraseId, ids: [ids.lab, ids.note], keyIds: [sha256(fresh('key'))], method: 'SHRED' };
    await dpo.isRefused('records', 'AttestErasure', { ...attested, ids: [ids.image] }, 422, 'NOT_IN_SCOPE');
    assert.equal((await dpo.does('records', 'AttestErasure', attested)).state, 'Erased');
    await physician.isNotAnswered('records', 'ReadErasure', { eraseId }, 404, 'NOT_FOUND');
    assert.equal(await decides(physician, 'RequestAccess', access(fresh('acc'), ids.lab)), 'ERASED');
});

test('everybody is told what was decided, and nobody whom it was about', async () => {
    const events = await eventsOf('records');
    const counts = {};
    for (const { name } of events) counts[name] = (counts[name] ?? 0) + 1;
    assert.deepEqual(counts, {
        RecordsRegistered: 1, RecordAmended: 1, AccessDecided: 10, ConsentActive: 2, KeyReleased: 1, TamperDetected: 1, GlassBroken: 3,
        GlassReviewed: 1, GuardianLinked: 1, ConsentRevoked: 2, GuardianUnlinked: 1, CustodyOffered: 1, CustodyTransferred: 1,
        ErasureRequested: 1, ErasureDecided: 1, Erased: 1,
    });
    const broken = events.find(({ id }) => id === emergency);
    assert.deepEqual([broken.name, broken.state, broken.org, broken.ref], ['GlassBroken', 'Emergency', 'HospitalMSP', 'EMERGENCY']);
    await assertNothingLeaks([...Object.values(person), 'Hermiston71'], granted);
});
