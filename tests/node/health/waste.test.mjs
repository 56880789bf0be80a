// Medical waste, from the view of the ward, the carrier, the disposer, the authority and another hospital.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { StatusCode } from '@hyperledger/fabric-gateway';
import { disconnect } from '../lib/members.mjs';
import { fresh, manifestNumber, now, sha256 } from '../lib/numbers.mjs';
import { Actor, commits } from './lib/actors.mjs';
import { inspector } from './lib/registry.mjs';
import { assertNothingLeaks, eventsOf } from './lib/story.mjs';

after(disconnect);

const ward = new Actor('hospital', 'waste');
const clinic = new Actor('clinic', 'waste');
const carrier = new Actor('waste', 'carrier');
const disposer = new Actor('waste', 'disposer');
const environment = new Actor('regulator', 'environment');

const no = manifestNumber();
const back = manifestNumber();
const bags = [1, 2, 3, 4].map(() => fresh('bag'));
const seal = (id, more = {}) => ({ id, code: '841-001-01', grams: 1000, dept: 'WARD-3', container: 'box', ...more });
const manifest = (more = {}) => ({ no, carriers: ['WasteMSP'], disposer: 'WasteMSP', bags: bags.slice(0, 3), ...more });
const load = (grams, more = {}) => ({ no, count: 3, grams, ...more });
const trace = (number = no, who = environment) => who.asks('waste', 'Trace', { no: number });

test('a bag is sealed on the ward, once, for waste that may be in it', async () => {
    await new Actor('hospital', 'nurse').isRefused('waste', 'SealBag', seal(bags[0]), 403, 'WRONG_ROLE');
    await carrier.isRefused('waste', 'SealBag', seal(bags[0]), 403, 'WRONG_ORG');
    await ward.isRefused('waste', 'SealBag', seal(bags[0], { code: '841-009-01' }), 422, 'UNKNOWN_CODE');
    await ward.isRefused('waste', 'SealBag', seal(bags[0], { code: '841-002-01', container: 'bag' }), 422, 'CONTAINER');
    await ward.isRefused('waste', 'SealBag', seal(bags[0], { dept: 'Ward of Dr Quackenbush' }), 400, 'MALFORMED');
    for (const bag of bags) assert.equal((await ward.does('waste', 'SealBag', seal(bag))).state, 'Sealed');
    await ward.isRefused('waste', 'SealBag', seal(bags[0]), 409, 'DUPLICATE');
    await ward.does('waste', 'CorrectBag', { id: bags[0], grams: 1100, reason: 'SCALE' });
    await clinic.isRefused('waste', 'CorrectBag', { id: bags[0], grams: 1, reason: 'SCALE' }, 403, 'NOT_HOLDER');
    await clinic.isNotAnswered('waste', 'ReadBag', { id: bags[0] }, 403, 'NOT_PARTY');
});

test('a manifest names who is licensed, and a bag is on one of them', async () => {
    await ward.isRefused('waste', 'CreateManifest', manifest({ no: '20260000000000' }), 422, 'BAD_NUMBER');
    await ward.isRefused('waste', 'CreateManifest', manifest({ carriers: ['MakerMSP'] }), 422, 'UNKNOWN_ORG');
    await clinic.isRefused('waste', 'CreateManifest', manifest(), 403, 'NOT_HOLDER');
    // Two manifests at once with one bag: the second is invalid.
    const one = await ward.endorses('waste', 'CreateManifest', manifest());
    const two = await ward.endorses('waste', 'CreateManifest', manifest({ no: manifestNumber(), bags: bags.slice(2) }));
    assert.equal(await commits(one), StatusCode.VALID);
    assert.equal(await commits(two), StatusCode.MVCC_READ_CONFLICT);
    await ward.isRefused('waste', 'CreateManifest', manifest({ no: manifestNumber() }), 409, 'BAD_STATE');
    await ward.isRefused('waste', 'CorrectBag', { id: bags[0], grams: 1, reason: 'SCALE' }, 409, 'BAD_STATE');
});

test('a licence that is suspended stops the next manifest, not the load on the road', async () => {
    const licence = { msp: 'WasteMSP', no: 'L-1' };
    await inspector.does('providers', 'SuspendLicence', { ...licence, reasonCode: 'AUDIT' });
    try {
        await ward.isRefused('waste', 'CreateManifest', manifest({ no: manifestNumber(), bags: bags.slice(3) }), 422, 'UNLICENSED');
        await disposer.isRefused('waste', 'HandOver', load(3100), 403, 'WRONG_ROLE');
        await clinic.isRefused('waste', 'HandOver', load(3100), 403, 'NOT_PARTY');
        const handed = await ward.does('waste', 'HandOver', load(3100));
        assert.deepEqual(handed, { id: no, state: 'HandedOver', decision: 'Accepted', code: 'OK' });
        await ward.isRefused('waste', 'HandOver', load(3100), 409, 'BAD_STATE');
        const taken = await carrier.does('waste', 'AcceptCarriage', load(3100, { vehicle: 'V-7' }));
        assert.deepEqual(taken, { id: no, state: 'InTransit', decision: 'Flagged', code: 'UNLICENSED' });
    } finally {
        await inspector.does('providers', 'ReinstateLicence', { ...licence, reasonCode: 'CLEARED' });
    }
    assert.equal((await ward.asks('waste', 'ReadBag', { id: bags[0] })).holder, 'WasteMSP');
});

test('what the facility finds is flagged at once, and settled by three signatures', async () => {
    await disposer.isRefused('waste', 'AcceptAtFacility', { no, bags: [] }, 409, 'BAD_STATE');
    await carrier.does('waste', 'Deliver', { no });
    // One bag is light, one is not there.
    const found = { no, bags: [{ bag: bags[0], grams: 1100 }, { bag: bags[1], grams: 800 }] };
    await carrier.isRefused('waste', 'AcceptAtFacility', found, 403, 'WRONG_ROLE');
    const accepted = await disposer.does('waste', 'AcceptAtFacility', found);
    assert.equal(accepted.state, 'Discrepant');
    assert.equal(accepted.decision, 'Flagged');
    const { flags } = await trace();
    const about = (code, bag) => flags.find((flag) => flag.code === code && flag.bag === bag);
    assert.deepEqual([about('WEIGHT', bags[1]).expected, about('WEIGHT', bags[1]).found], [1000, 800]);
    assert.ok(about('MISSING_BAG', bags[2]));
    assert.equal((await clinic.asks('waste', 'Flags', {})).flags.length, 0);
    await clinic.isNotAnswered('waste', 'Trace', { no }, 403, 'NOT_PARTY');
    await disposer.isRefused('waste', 'Dispose', { no, method: 'incineration', batch: 'K', start: now(), end: now() }, 409, 'BAD_STATE');
    const holding = flags.filter(({ holds }) => holds);
    assert.ok(holding.length >= 2);
    for (const { n } of holding) {
        const signed = { no, n, finding: 'SCALE' };
        await environment.isRefused('waste', 'ResolveFlag', { ...signed, verdict: 'Accepted' }, 422, 'SIGNATURES');
        await ward.does('waste', 'ResolveFlag', signed);
        await ward.isRefused('waste', 'ResolveFlag', signed, 409, 'ALREADY_SIGNED');
        await disposer.does('waste', 'ResolveFlag', signed);
        await environment.does('waste', 'ResolveFlag', { ...signed, verdict: 'Accepted' });
    }
    assert.equal((await trace()).manifest.state, 'Accepted');
});

test('the load is burnt, and the certificate ends its way', async () => {
    await disposer.isRefused('waste', 'Dispose', { no, method: 'landfill', batch: 'K', start: now(), end: now() }, 422, 'METHOD');
    await disposer.isRefused('waste', 'Certify', { no, certHash: sha256('certificate') }, 409, 'BAD_STATE');
    await disposer.does('waste', 'Dispose', { no, method: 'incineration', batch: 'K-17', start: now(), end: now() });
    await disposer.does('waste', 'Certify', { no, certHash: sha256('certificate') });
    const told = await trace(no, ward);
    assert.deepEqual([told.manifest.state, told.manifest.disposal.grams], ['Certified', 1900]);
    assert.deepEqual(told.legs.map(({ took }) => took.org), ['WasteMSP', 'WasteMSP']);
    assert.deepEqual([told.legs[0].gave.org, told.legs[0].gave.role], ['HospitalMSP', 'waste']);
    assert.equal((await ward.asks('waste', 'ReadBag', { id: bags[2] })).state, 'Missing');
    const traced = await ward.asks('waste', 'Trace', { bag: bags[0] });
    assert.deepEqual([traced.history[0].grams, traced.history[1].grams, traced.history.at(-1).state], [1000, 1100, 'Disposed']);
});

test('a load that the facility refuses goes back to the ward', async () => {
    const [first, only] = [manifestNumber(), bags.slice(3)];
    await ward.does('waste', 'CreateManifest', manifest({ no: first, bags: only }));
    const one = { count: 1, grams: 1000 };
    await ward.does('waste', 'HandOver', { no: first, ...one });
    const heavier = await carrier.does('waste', 'AcceptCarriage', { no: first, vehicle: 'V-7', count: 2, grams: 1000 });
    assert.equal(heavier.code, 'COUNT');
    await carrier.does('waste', 'Deliver', { no: first });
    await disposer.does('waste', 'RejectLoad', { no: first, newNo: back, reason: 'CLOSED' });
    assert.deepEqual((await trace(first)).manifest.next, [back]);
    await carrier.does('waste', 'AcceptCarriage', { no: back, vehicle: 'V-7', ...one });
    await carrier.does('waste', 'Deliver', { no: back });
    const returned = { no: back, bags: [{ bag: only[0], grams: 1000 }] };
    await disposer.isRefused('waste', 'AcceptAtFacility', returned, 403, 'NOT_PARTY');
    assert.equal((await ward.does('waste', 'AcceptAtFacility', returned)).state, 'Returned');
    const bag = await ward.asks('waste', 'ReadBag', { id: only[0] });
    assert.deepEqual([bag.state, bag.holder], ['Sealed', 'HospitalMSP']);
});

test('everybody is told what happened', async () => {
    const names = (await eventsOf('waste')).map(({ name }) => name).filter((name) => name !== 'FlagResolved');
    assert.deepEqual(names, [
        'BagSealed', 'BagSealed', 'BagSealed', 'BagSealed', 'BagCorrected', 'ManifestCreated', 'HandedOver', 'InTransit',
        'Delivered', 'DiscrepancyFlagged', 'Disposed', 'Certified', 'ManifestCreated', 'HandedOver', 'InTransit', 'Delivered',
        'LoadRejected', 'InTransit', 'Delivered', 'Accepted',
    ]);
    // Free text is refused before it is ordered.
    await assertNothingLeaks(['Quackenbush', 'Ward of Dr'], no);
});
