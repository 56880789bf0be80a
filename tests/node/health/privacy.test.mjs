// Pseudonyms, erasure and the audit trail, from the view of a data protection officer, a patient, an auditor and
// others.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { disconnect, eventually } from '../lib/members.mjs';
import { DAY, day, fresh, now, pseudonym, salt, sha256 } from '../lib/numbers.mjs';
import { Actor, committed } from './lib/actors.mjs';
import { stocked } from './lib/devices.mjs';
import { auditor, practitioner } from './lib/registry.mjs';
import { assertNothingLeaks, eventsOf } from './lib/story.mjs';

after(disconnect);

const sid = pseudonym();
const patient = new Actor('citizen', 'patient', { 'hc.sid': sid });
const stranger = new Actor('citizen', 'patient', { 'hc.sid': pseudonym() });
const dpo = new Actor('hospital', 'dpo');
const clinicDpo = new Actor('clinic', 'dpo');
const issuer = new Actor('citizen', 'issuer');
const nurse = new Actor('hospital', 'nurse', { 'hc.pid': fresh('pid') });

test('a key of pseudonyms is opened, retired and destroyed, by its fingerprint', async () => {
    // Of a project, so that each run has a sector of its own.
    const sector = `research:${fresh('proj')}`;
    const open = (epoch, fingerprint) => ({ sector, epoch, fingerprint });
    const [first, second] = [sha256(fresh('key')), sha256(fresh('key'))];
    await new Actor('insurer', 'dpo').isRefused('privacy', 'OpenEpoch', open(1, first), 403, 'WRONG_ORG');
    await patient.isRefused('privacy', 'OpenEpoch', open(1, first), 403, 'WRONG_ROLE');
    await issuer.isRefused('privacy', 'OpenEpoch', open(2, first), 422, 'EPOCH_ORDER');
    await issuer.does('privacy', 'OpenEpoch', open(1, first));
    await issuer.isRefused('privacy', 'OpenEpoch', open(2, second), 409, 'EPOCH_OPEN');
    await issuer.does('privacy', 'RetireEpoch', { sector, epoch: 1 });
    await issuer.isRefused('privacy', 'OpenEpoch', open(2, first), 409, 'KEY_REUSED');
    await issuer.does('privacy', 'OpenEpoch', open(2, second));
    const destroyed = { sector, epoch: 1, fingerprint: first, method: 'HSM-ZEROIZE' };
    await issuer.isRefused('privacy', 'AttestEpochDestroyed', { ...destroyed, fingerprint: second }, 422, 'FINGERPRINT_MISMATCH');
    await issuer.does('privacy', 'AttestEpochDestroyed', destroyed);
    assert.equal((await clinicDpo.asks('privacy', 'ReadEpoch', { org: 'CitizenMSP', sector, epoch: 1 })).state, 'Destroyed');
});

const implant = { sid: pseudonym(), procedure: `Procedure/${fresh('p')}`, date: day(), salt: salt() };
let unit;
let records;
let commitment;

before(async () => {
    const product = await stocked('hospital', 'P1');
    unit = product.unit('P1');
    const surgeon = await practitioner('hospital', 'physician', 'implant');
    const operation = { unit, procedureRef: implant.procedure };
    await surgeon.does('devices', 'Implant', operation, { transient: { implant }, at: ['hospital', 'regulator'] });
    records = new Actor('hospital', 'records');
    commitment = (await records.asks('devices', 'ReadUnit', { unit })).patientCommit;
});

const purge = fresh('purge');

test('what a hospital keeps of a patient is purged at every peer, and the proof stays', async () => {
    const wish = { id: purge, holder: 'HospitalMSP', ground: 'ERASURE', subject: sid };
    assert.equal((await eventually(() => records.asks('devices', 'ReadPatient', { unit }))).patient.sid, implant.sid);
    await stranger.isRefused('privacy', 'RequestPurge', wish, 403, 'NOT_SUBJECT');
    await clinicDpo.isRefused('privacy', 'RequestPurge', wish, 403, 'WRONG_ORG');
    await auditor.isRefused('privacy', 'RequestPurge', { ...wish, holder: 'StrangerMSP' }, 422, 'UNKNOWN_HOLDER');
    await patient.does('privacy', 'RequestPurge', wish);
    await clinicDpo.isNotAnswered('privacy', 'ReadPurge', { id: purge }, 404, 'NOT_FOUND');
    await stranger.isNotAnswered('privacy', 'ReadPurge', { id: purge }, 404, 'NOT_FOUND');
    assert.equal((await patient.asks('privacy', 'VerifyErasure', { id: purge })).erased, false);
    const key = sha256(fresh('key of the vault'));
    const attest = { id: purge, private: [{ chaincode: 'devices', keys: [commitment] }], vaultKeys: [key], method: 'SHRED' };
    await clinicDpo.isRefused('privacy', 'AttestDestruction', attest, 403, 'NOT_HOLDER');
    await nurse.isRefused('privacy', 'AttestDestruction', attest, 403, 'WRONG_ROLE');
    await dpo.isRefused('privacy', 'AttestDestruction', { id: purge, method: 'SHRED' }, 422, 'NOTHING_DESTROYED');
    const nothing = { ...attest, private: [{ chaincode: 'devices', keys: [sha256('nothing')] }] };
    await dpo.isRefused('privacy', 'AttestDestruction', nothing, 404, 'PURGE_REFUSED');
    assert.equal((await dpo.does('privacy', 'AttestDestruction', attest)).state, 'Destroyed');
    await records.isNotAnswered('devices', 'ReadPatient', { unit }, 404, 'PRIVATE_DATA_NOT_HERE');
    const proof = await patient.asks('privacy', 'VerifyErasure', { id: purge });
    assert.equal(proof.erased, true);
    assert.deepEqual(proof.vaultKeys, [key]);
    assert.deepEqual(proof.private.map(({ keyHash, recorded, gone }) => [keyHash, recorded, gone]), [[sha256(commitment), true, true]]);
    // Every peer says so, also those that never had it.
    for (const org of ['regulator', 'clinic', 'maker', 'citizen']) {
        assert.deepEqual(await auditor.asks('privacy', 'VerifyErasure', { id: purge }, { at: [org] }), proof, org);
    }
    await dpo.isRefused('privacy', 'AttestDestruction', attest, 409, 'BAD_STATE');
});

test('what has to be kept is refused, an order of the authority is not', async () => {
    const [tax, order] = [fresh('purge'), fresh('purge')];
    const until = now() + 365 * DAY;
    await auditor.does('privacy', 'RequestPurge', { id: tax, holder: 'HospitalMSP', ground: 'RETENTION' });
    await auditor.does('privacy', 'RequestPurge', { id: order, holder: 'HospitalMSP', ground: 'ORDER' });
    await dpo.isRefused('privacy', 'RefusePurge', { id: tax, reason: 'TAX-LAW', until: now() - DAY }, 422, 'PERIOD');
    await dpo.does('privacy', 'RefusePurge', { id: tax, reason: 'TAX-LAW', until });
    await dpo.isRefused('privacy', 'RefusePurge', { id: order, reason: 'TAX-LAW', until }, 422, 'ORDERED');
});

const names = ['first', 'second', 'third'].map(fresh);
const event = (id, more = {}) => ({
    event: {
        id, type: 'PatientRead', action: 'R', outcome: '0', purpose: 'TREAT', subject: sid, entities: [`Observation/${fresh('o')}`],
        at: now() - 600, ...more,
    },
});
// A client whose clock is almost five minutes behind, so that there is something old enough to be sealed.
const BEHIND = { ahead: -280 };

test('who looked at what is recorded by code, and read by those it concerns', async () => {
    await patient.isRefused('privacy', 'Append', event(names[0]), 403, 'WRONG_ROLE');
    await nurse.isRefused('privacy', 'Append', event(names[0], { type: 'Johnnie Hermiston was seen' }), 422, 'FREE_TEXT');
    await nurse.isRefused('privacy', 'Append', event(names[0], { entities: [`Patient/${fresh('p')}`] }), 422, 'PERSON_REFERENCE');
    await nurse.isRefused('privacy', 'Append', event(names[0], { at: now() + DAY }), 422, 'EVENT_TIME');
    await nurse.does('privacy', 'Append', event(names[0]), BEHIND);
    await nurse.does('privacy', 'Append', event(names[1], { outcome: '8' }), BEHIND);
    await nurse.does('privacy', 'Append', event(names[2]));
    await nurse.isRefused('privacy', 'Append', event(names[0]), 409, 'DUPLICATE');
    const mine = await patient.asks('privacy', 'Query', { subject: sid });
    assert.deepEqual(mine.entries.map(({ id }) => id).sort(), [...names].sort());
    await stranger.isNotAnswered('privacy', 'Query', { subject: sid }, 403, 'NOT_SUBJECT');
    await clinicDpo.isNotAnswered('privacy', 'Query', { org: 'HospitalMSP' }, 403, 'NOT_OWN');
    await clinicDpo.isNotAnswered('privacy', 'ReadEvent', { id: names[0] }, 404, 'NOT_FOUND');
    assert.equal((await auditor.asks('privacy', 'ReadEvent', { id: names[1] })).outcome, '8');
});

// RFC 6962: that a leaf is under a root.
function holds({ entry, index, size, path, root }) {
    const hash = (prefix, ...parts) => createHash('sha256').update(Buffer.concat([Buffer.from([prefix]), ...parts])).digest();
    let [at, last, found] = [index, size - 1, hash(0, Buffer.from(entry))];
    for (const sibling of path.map((text) => Buffer.from(text, 'hex'))) {
        if (last === 0) return false;
        if (at % 2 === 1 || at === last) {
            found = hash(1, sibling, found);
            while (at % 2 === 0 && at !== 0) [at, last] = [at >> 1, last >> 1];
        } else {
            found = hash(1, found, sibling);
        }
        [at, last] = [at >> 1, last >> 1];
    }
    return last === 0 && found.toString('hex') === root;
}

test('a checkpoint seals what happened, and an event is proved without the ledger', async () => {
    const last = await auditor.asks('privacy', 'ReadCheckpoint').then(({ to }) => to, () => 0);
    // The auditor's clock is as much ahead as the nurse's was behind.
    const ahead = { ahead: 280 };
    const to = now() - 60;
    const { count, root } = await auditor.asks('privacy', 'PreviewCheckpoint', { from: last, to });
    assert.ok(count >= 2, `${count} events`);
    // One peer's word is not needed: others have the same.
    for (const org of ['clinic', 'waste']) {
        assert.equal((await auditor.asks('privacy', 'PreviewCheckpoint', { from: last, to }, { at: [org] })).root, root);
    }
    const seal = { from: last, to, root };
    await dpo.isRefused('privacy', 'Checkpoint', seal, 403, 'WRONG_ORG', ahead);
    await auditor.isRefused('privacy', 'Checkpoint', { ...seal, from: last + 1 }, 422, 'GAP', ahead);
    await auditor.isRefused('privacy', 'Checkpoint', { ...seal, root: sha256('another') }, 422, 'ROOT_MISMATCH', ahead);
    await auditor.isRefused('privacy', 'Checkpoint', seal, 422, 'TOO_EARLY');
    await patient.isNotAnswered('privacy', 'ProveEvent', { id: names[0] }, 409, 'NOT_SEALED');
    await auditor.does('privacy', 'Checkpoint', seal, ahead);
    for (const id of names.slice(0, 2)) {
        const proof = await patient.asks('privacy', 'ProveEvent', { id });
        assert.equal(proof.root, root);
        assert.ok(holds(proof), id);
        assert.ok(!holds({ ...proof, entry: proof.entry.replace('TREAT', 'HPAYMT') }));
    }
    await patient.isNotAnswered('privacy', 'ProveEvent', { id: names[2] }, 409, 'NOT_SEALED');
    await stranger.isNotAnswered('privacy', 'ProveEvent', { id: names[0] }, 404, 'NOT_FOUND');
    // Nothing comes under a closed seal.
    await nurse.isRefused('privacy', 'Append', event(fresh('late')), 409, 'SEALED', BEHIND);
});

test('an investigation fixes what it looks into', async () => {
    const id = fresh('inv');
    await dpo.isRefused('privacy', 'OpenInvestigation', { id, query: { subject: sid } }, 403, 'WRONG_ORG');
    await auditor.isRefused('privacy', 'OpenInvestigation', { id, query: { subject: pseudonym() } }, 422, 'SELECTION');
    await auditor.does('privacy', 'OpenInvestigation', { id, query: { subject: sid } });
    await auditor.does('privacy', 'CloseInvestigation', { id, finding: 'UNFOUNDED' });
    await auditor.isRefused('privacy', 'CloseInvestigation', { id, finding: 'UNFOUNDED' }, 409, 'BAD_STATE');
    await dpo.isNotAnswered('privacy', 'ReadInvestigation', { id }, 403, 'WRONG_ORG');
});

test('everybody is told what happened, and nobody who it was', async () => {
    const told = (await eventsOf('privacy')).map(({ name }) => name);
    assert.deepEqual(told, [
        'EpochOpened', 'EpochRetired', 'EpochOpened', 'EpochDestroyed', 'PurgeRequested', 'DestructionAttested', 'PurgeRequested',
        'PurgeRequested', 'PurgeRefused', 'Recorded', 'Recorded', 'Recorded', 'Checkpointed', 'InvestigationOpened',
        'InvestigationClosed',
    ]);
    assert.ok(committed.some(({ contract }) => contract === 'devices'));
    await assertNothingLeaks([implant.sid, implant.salt, 'Johnnie Hermiston'], purge);
});
