// Health cards, from the view of the bureau, its holder, a hospital's desk, a child's mother and an insurer.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { status as grpcStatus } from '@grpc/grpc-js';
import { StatusCode } from '@hyperledger/fabric-gateway';
import { disconnect, eventually } from '../lib/members.mjs';
import { DAY, fresh, now, pseudonym, pseudonymOf, residentNumber, salt, sha256 } from '../lib/numbers.mjs';
import { Actor, commits } from './lib/actors.mjs';
import { CardKey } from './lib/cardkey.mjs';
import { auditor, facilities } from './lib/registry.mjs';
import { assertNothingLeaks, eventsOf } from './lib/story.mjs';

after(disconnect);

const issuer = new Actor('citizen', 'issuer');
const facility = facilities().hospital;
const desk = new Actor('hospital', 'records', { 'hc.facility': facility });
const insurer = new Actor('insurer', 'adjudicator');
// The desk's peer holds nothing of who the holder is: those that do endorse.
const keepers = ['citizen', 'regulator'];

const care = randomBytes(32).toString('hex');
const epochKeys = { care, pay: randomBytes(32).toString('hex'), device: randomBytes(32).toString('hex'), salt: salt() };
const person = (birth, name) => {
    const idNo = residentNumber(birth);
    return { proof: { idType: 'resident-id', idNo, name, birth, salt: salt() }, sid: pseudonymOf(care, 'resident-id', idNo) };
};
const li = person('1949-12-31', '李娜 Hermiston71');
const wang = person('1980-02-29', '王伟 Quackenbush9');
const child = person(`${new Date().getUTCFullYear() - 6}-03-01`, '小明 Quackenbush9');
const motherSid = pseudonym();
const cards = new Map();
const handles = { li: fresh('card'), wang: fresh('card'), child: fresh('card'), replaced: fresh('card') };
const keyOf = (handle) => {
    if (!cards.has(handle)) cards.set(handle, new CardKey());
    return cards.get(handle);
};
const application = (handle, scheme = 'health-card') => ({ handle, scheme, cardKey: keyOf(handle).jwk });
const activation = (handle, more = {}) => ({ handle, evidenceHash: sha256(fresh('form')), level: 2, validTo: now() + 365 * DAY, ...more });
const proves = ({ proof }) => ({ transient: { proof } });
let holder;
let epoch;

// Shown at the hospital: the verdict, which is committed.
async function checksIn(handle, token) {
    const verdict = await desk.does('card', 'CheckIn', { checkInId: fresh('visit'), handle, token });
    assert.equal(verdict.decision, verdict.code === 'OK' ? 'Admitted' : 'Refused');
    return verdict.code;
}

before(async () => {
    holder = new Actor('citizen', 'patient', { 'hc.sid': li.sid });
});

test('the bureau sets the keys of an epoch, which nobody else reads', async () => {
    epoch = (await desk.asks('card', 'ReadEpochs')).last + 1;
    await desk.isRefused('card', 'SetEpochKey', { epoch }, 403, 'WRONG_ORG', { transient: { keys: epochKeys } });
    await issuer.isRefused('card', 'SetEpochKey', { epoch: epoch + 1 }, 409, 'EPOCH_ORDER', { transient: { keys: epochKeys } });
    await issuer.isRefused('card', 'SetEpochKey', { epoch }, 422, 'SAME_KEY', { transient: { keys: { ...epochKeys, pay: care } } });
    await issuer.does('card', 'SetEpochKey', { epoch }, { transient: { keys: epochKeys } });
    const derived = await issuer.asks('card', 'DerivePseudonym', { sector: 'care' }, proves(li));
    assert.deepEqual(derived, { epoch, sid: li.sid });
    await desk.isNotAnswered('card', 'DerivePseudonym', { sector: 'care' }, 403, 'WRONG_ORG', proves(li));
});

test('one card is opened a person, by whoever applies', async () => {
    await insurer.isRefused('card', 'Apply', application(handles.li), 403, 'WRONG_ORG');
    const wrong = { ...li.proof, birth: '1950-01-01' };
    await issuer.isRefused('card', 'Apply', application(handles.li), 422, 'BAD_ID', { transient: { proof: wrong } });
    await issuer.does('card', 'Apply', application(handles.li), proves(li));
    await issuer.isRefused('card', 'Activate', activation(handles.li, { level: 1 }), 422, 'PROOF_LEVEL');
    assert.deepEqual(await issuer.does('card', 'Activate', activation(handles.li)), { id: handles.li, state: 'Active' });
    const card = await insurer.asks('card', 'ReadCard', { handle: handles.li });
    assert.deepEqual([card.sid, card.epoch, card.key], [li.sid, epoch, keyOf(handles.li).jwk]);
    await issuer.isRefused('card', 'Apply', application(fresh('card')), 409, 'ALREADY_OPEN', proves(li));
    await issuer.isRefused('card', 'Apply', { ...application(fresh('card')), cardKey: keyOf(handles.li).jwk }, 409, 'KEY_IN_USE', proves(wang));
    // A hospital's desk deposits the proof for the bureau. Its gateway sends the proof to peers that keep it
    // alone, which it has to be told; whoever applies at two desks gets one card.
    await assert.rejects(desk.endorses('card', 'Apply', application(handles.wang), proves(wang)), {
        code: grpcStatus.FAILED_PRECONDITION,
        message: /not in the distribution policy of the private data collection\(s\): \[cardholders\]/,
    });
    await desk.does('card', 'Apply', application(handles.wang), { ...proves(wang), at: keepers });
    const second = fresh('card');
    await desk.does('card', 'Apply', application(second), { ...proves(wang), at: keepers });
    const [one, two] = [await issuer.endorses('card', 'Activate', activation(handles.wang)), await issuer.endorses('card', 'Activate', activation(second))];
    assert.equal(await commits(one), StatusCode.VALID);
    assert.notEqual(await commits(two), StatusCode.VALID);
    await issuer.isRefused('card', 'Activate', activation(second), 409, 'ALREADY_OPEN');
    await issuer.does('card', 'Revoke', { handle: second, reason: 'SECOND' });
    assert.equal((await desk.asks('card', 'ReadCard', { handle: handles.wang })).sid, wang.sid);
});

test('who the holder is, the bureau verifies and nobody else', async () => {
    const verify = (who, options) => who.asks('card', 'VerifyHolder', { handle: handles.li }, { ...proves(li), ...options });
    assert.deepEqual(await verify(issuer), { id: true, person: true });
    const other = { transient: { proof: { ...li.proof, name: 'Somebody Else' } } };
    assert.deepEqual(await issuer.asks('card', 'VerifyHolder', { handle: handles.li }, other), { id: true, person: false });
    await desk.isNotAnswered('card', 'VerifyHolder', { handle: handles.li }, 403, 'WRONG_ORG', proves(li));
    await issuer.isNotAnswered('card', 'VerifyHolder', { handle: handles.li }, 404, 'PRIVATE_DATA_NOT_HERE', { ...proves(li), at: ['hospital'] });
    assert.deepEqual(await eventually(() => verify(issuer, { at: ['regulator'] })), { id: true, person: true });
});

test('a card is shown once, in time, where it is meant for', async () => {
    const key = keyOf(handles.li);
    const token = key.token(handles.li, facility);
    assert.equal((await desk.asks('card', 'VerifyToken', { handle: handles.li, token, facility })).code, 'OK');
    assert.equal(await checksIn(handles.li, token), 'OK');
    assert.equal(await checksIn(handles.li, token), 'TOKEN_REPLAY');
    assert.equal(await checksIn(handles.li, key.token(handles.li, facility, { iat: now() - 120 })), 'TOKEN_EXPIRED');
    assert.equal(await checksIn(handles.li, key.token(handles.li, 'ClinicMSP')), 'WRONG_AUDIENCE');
    assert.equal(await checksIn(handles.li, new CardKey().token(handles.li, facility)), 'BAD_SIGNATURE');
    assert.equal(await checksIn(handles.li, key.token(handles.wang, facility)), 'WRONG_CARD');
    const check = (bad) => ({ checkInId: fresh('visit'), handle: handles.li, token: bad });
    await desk.isRefused('card', 'CheckIn', check(token.split('.').slice(1).join('.')), 400, 'BAD_TOKEN');
    await insurer.isRefused('card', 'CheckIn', check(token), 403, 'WRONG_ORG');
    // Shown at two desks at once: one of them admits.
    const shared = key.token(handles.li, facility);
    const both = await Promise.all([1, 2].map(() => desk.endorses('card', 'CheckIn', check(shared))));
    assert.equal(await commits(both[0]), StatusCode.VALID);
    assert.equal(await commits(both[1]), StatusCode.MVCC_READ_CONFLICT);
});

test('a lost card is suspended by its holder and replaced by the bureau', async () => {
    const stranger = new Actor('citizen', 'patient', { 'hc.sid': pseudonym() });
    const lost = { handle: handles.li, reason: 'LOST' };
    await holder.does('card', 'BindFacility', { handle: handles.li, org: 'InsurerMSP' });
    await insurer.isRefused('card', 'BindFacility', { handle: handles.li, org: 'ClinicMSP' }, 403, 'NOT_HOLDER');
    await stranger.isRefused('card', 'Suspend', lost, 403, 'NOT_HOLDER');
    await holder.does('card', 'Suspend', lost);
    assert.equal(await checksIn(handles.li, keyOf(handles.li).token(handles.li, facility)), 'CARD_INACTIVE');
    const replacement = { handle: handles.li, newHandle: handles.replaced, newKey: keyOf(handles.replaced).jwk, validTo: now() + 365 * DAY };
    await holder.isRefused('card', 'Replace', replacement, 403, 'WRONG_ROLE');
    await issuer.does('card', 'Replace', replacement);
    await holder.isRefused('card', 'Resume', { ...lost, reason: 'FOUND' }, 409, 'BAD_STATE');
    assert.equal(await checksIn(handles.replaced, keyOf(handles.li).token(handles.replaced, facility)), 'BAD_SIGNATURE');
    assert.equal(await checksIn(handles.replaced, keyOf(handles.replaced).token(handles.replaced, facility)), 'OK');
    assert.deepEqual((await insurer.asks('card', 'Bindings', { handle: handles.replaced })).map(({ org }) => org), ['InsurerMSP']);
    await issuer.does('card', 'Suspend', { handle: handles.replaced, reason: 'FROZEN' });
    await holder.isRefused('card', 'Resume', { handle: handles.replaced, reason: 'FOUND' }, 403, 'ISSUER_HOLD');
    await issuer.does('card', 'Resume', { handle: handles.replaced, reason: 'CLEARED' });
    const uses = await holder.asks('card', 'CardUses', { handle: handles.li });
    assert.deepEqual(uses.entries.map(({ code }) => code).sort(), [
        'BAD_SIGNATURE', 'CARD_INACTIVE', 'OK', 'OK', 'TOKEN_EXPIRED', 'TOKEN_REPLAY', 'WRONG_AUDIENCE', 'WRONG_CARD',
    ]);
    await stranger.isNotAnswered('card', 'CardUses', { handle: handles.li }, 403, 'NOT_HOLDER');
    await auditor.asks('card', 'CardUses', { handle: handles.li });
});

test('a child has a card once its guardian is linked', async () => {
    const mother = new Actor('citizen', 'guardian', { 'hc.sid': motherSid });
    await issuer.does('card', 'Apply', application(handles.child), proves(child));
    await issuer.isRefused('card', 'Activate', activation(handles.child), 422, 'GUARDIAN_REQUIRED');
    await mother.isRefused('card', 'LinkGuardian', { guardianSid: motherSid, sid: child.sid, until: now() + DAY, evidenceHash: sha256('birth') }, 403, 'WRONG_ROLE');
    await issuer.does('card', 'LinkGuardian', { guardianSid: motherSid, sid: child.sid, until: now() + DAY, evidenceHash: sha256(fresh('birth')) });
    await issuer.does('card', 'Activate', activation(handles.child));
    await mother.does('card', 'Suspend', { handle: handles.child, reason: 'LOST' });
    await mother.isRefused('card', 'Suspend', { handle: handles.wang, reason: 'LOST' }, 403, 'NOT_HOLDER');
});

test('a holder without a certificate consents by the card, at a desk', async () => {
    const consent = {
        id: fresh('con'),
        period: { to: now() + 30 * DAY },
        provisions: [{ type: 'permit', orgs: ['HospitalMSP'], purposes: ['TREAT'] }],
    };
    const text = (more = {}) => JSON.stringify({ act: 'PutConsent', channel: 'health', sid: wang.sid, at: now(), content: consent, ...more });
    const brought = (signed, handle = handles.wang) => ({ signed, jws: keyOf(handle).signsContent(signed) });
    const brings = (args, status, code) => desk.isRefused('records', 'PutConsent', args, status, code);
    await brings(brought(text(), handles.li), 403, 'NOT_SUBJECT');
    await brings({ ...brought(text()), signed: text().replace('HospitalMSP', 'InsurerMSP') }, 403, 'NOT_SUBJECT');
    await brings(brought(text({ channel: 'elsewhere' })), 403, 'NOT_SUBJECT');
    await brings(brought(text({ at: now() - 2 * DAY })), 422, 'SIGNATURE_AGE');
    await brings({ signed: text(), jws: 'a.b.c' }, 400, 'BAD_JWS');
    // A card that is suspended before the commit signs nothing.
    const raced = await desk.endorses('records', 'PutConsent', brought(text()));
    await issuer.does('card', 'Suspend', { handle: handles.wang, reason: 'FROZEN' });
    assert.equal(await commits(raced), StatusCode.MVCC_READ_CONFLICT);
    await brings(brought(text()), 403, 'NOT_SUBJECT');
    await issuer.does('card', 'Resume', { handle: handles.wang, reason: 'CLEARED' });
    await desk.does('records', 'PutConsent', brought(text()));
    assert.equal((await desk.asks('records', 'ReadConsent', { sid: wang.sid, id: consent.id })).card, handles.wang);
});

test('a closed card leaves nothing of its holder, and another may be opened', async () => {
    await holder.does('card', 'CloseCard', { handle: handles.replaced });
    await issuer.isNotAnswered('card', 'VerifyHolder', { handle: handles.replaced }, 404, 'NOT_FOUND', proves(li));
    assert.equal(await checksIn(handles.replaced, keyOf(handles.replaced).token(handles.replaced, facility)), 'CARD_INACTIVE');
    const history = await auditor.asks('card', 'CardHistory', { handle: handles.replaced });
    assert.ok(history.length >= 4);
    const another = fresh('card');
    await issuer.does('card', 'Apply', application(another), proves(li));
    await issuer.does('card', 'Revoke', { handle: another, reason: 'END' });
    await issuer.isRefused('card', 'RetireEpoch', { epoch }, 422, 'EPOCH_IN_USE');
});

test('everybody is told what happened, and nobody who it was', async () => {
    const events = await eventsOf('card');
    const counts = {};
    for (const { name } of events) counts[name] = (counts[name] ?? 0) + 1;
    assert.deepEqual(counts, {
        EpochKeySet: 1, CardApplied: 5, CardActivated: 3, CardRevoked: 2, CheckedIn: 3, CheckInRefused: 8, FacilityBound: 1,
        CardSuspended: 4, CardReplaced: 1, CardResumed: 2, GuardianLinked: 1, CardClosed: 1,
    });
    const secrets = [li, wang, child].flatMap(({ proof }) => [proof.idNo, proof.name, proof.birth, proof.birth.replaceAll('-', ''), proof.salt]);
    await assertNothingLeaks([...secrets, 'Hermiston71', 'Quackenbush9', ...Object.values(epochKeys)], handles.li);
});
