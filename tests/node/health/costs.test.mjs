// From the order to the payment, from the view of a hospital, an insurer, the regulator, a patient and others.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { StatusCode } from '@hyperledger/fabric-gateway';
import { randomBytes } from 'node:crypto';
import { disconnect, eventually } from '../lib/members.mjs';
import { day, fresh, pseudonym, salt, sha256 } from '../lib/numbers.mjs';
import { Actor, commits } from './lib/actors.mjs';
import { stocked } from './lib/devices.mjs';
import { auditor, practitioner } from './lib/registry.mjs';
import { assertNothingLeaks, eventsOf } from './lib/story.mjs';

after(disconnect);

const billing = new Actor('hospital', 'billing');
const clinic = new Actor('clinic', 'billing');
const adjudicator = new Actor('insurer', 'adjudicator');
const cashier = new Actor('insurer', 'cashier');
const fraud = new Actor('insurer', 'fraud');
const certifier = new Actor('regulator', 'certifier');
const inspector = new Actor('regulator', 'inspector');
const sidPay = pseudonym();
// A patient asks with a certificate of the hospital: the bureau's peer holds nothing of it.
const patient = new Actor('hospital', 'patient', { 'hc.sidPay': sidPay });

const payer = { payer: 'InsurerMSP' };
const pepper = { pepper: randomBytes(32).toString('hex') };
const version = fresh('v');
const epi = fresh('epi');
const claim = fresh('claim');
const control = fresh('control');
const codes = { visit: 'A7731', day: 'A7742', device: 'L8699' };
const page = {
    entries: [
        { system: 'HCPCS', code: codes.visit, price: 1_250_000 },
        { system: 'HCPCS', code: codes.day, price: 1_405_200 },
        { system: 'HCPCS', code: codes.device, price: 90_000_000 },
    ],
    salt: salt(),
};
const stay = { sidPay, reference: fresh('checkin'), start: day(-5), salt: salt() };
const evidence = { record: fresh('rec'), order: fresh('order') };
const secrets = [
    sidPay, stay.reference, stay.salt, evidence.record, evidence.order, page.salt, pepper.pepper, control, ...Object.values(codes),
    '1250000', '1405200', '5620800', '6870800', '4496640', '90000000',
];

const line = (date, code, price, more = {}) =>
    ({ date, system: 'HCPCS', code, qty: 1, unitPrice: price, amount: price, evidence, page: 0, salt: salt(), ...more });
const posts = (seq, charge, who = billing) => who.does('costs', 'PostCharge', { epi, seq }, { transient: { line: charge } });
const bills = (seq, date, code, net) => ({ charge: seq, date, system: 'HCPCS', code, net });
const four = line(day(-3), codes.day, 1_405_200, { qty: 4, amount: 5_620_800 });
const sums = async (who = billing) => (await who.asks('costs', 'TraceCost', { epi })).sums;

let nail;
before(async () => {
    nail = await stocked('hospital', 'N1');
});

test('prices are published for everybody by their hash, and given to the payer', async () => {
    const publication = { version, from: day(-30), currency: 'USD', pages: [sha256(JSON.stringify(page))] };
    await new Actor('hospital', 'nurse').isRefused('costs', 'PublishPrices', publication, 403, 'WRONG_ROLE');
    await clinic.isRefused('costs', 'PublishPrices', { ...publication, org: 'HospitalMSP' }, 403, 'NOT_PROVIDER');
    assert.deepEqual(await billing.does('costs', 'PublishPrices', publication), { id: version, state: 'InForce' });
    await billing.isRefused('costs', 'PublishPrices', publication, 409, 'DUPLICATE');
    await billing.isRefused('costs', 'PublishPrices', { ...publication, version: fresh('v'), from: day(-60) }, 422, 'BACKDATED');
    await billing.does('costs', 'SetPepper', payer, { transient: { pepper } });
    await billing.isRefused('costs', 'SetPepper', payer, 409, 'DUPLICATE', { transient: { pepper } });
    const load = { ...payer, version, page: 0 };
    const dearer = { ...page, entries: page.entries.map((entry) => ({ ...entry, price: 2 * entry.price })) };
    await billing.isRefused('costs', 'LoadPrices', load, 422, 'LIST_MISMATCH', { transient: { page: dearer } });
    await billing.does('costs', 'LoadPrices', load, { transient: { page } });
});

test('an episode is opened by the hospital, and its coverage confirmed by the insurer', async () => {
    const episode = { epi, ...payer, type: 'inpatient', currency: 'USD' };
    await adjudicator.isRefused('costs', 'OpenEpisode', episode, 403, 'WRONG_ORG', { transient: { stay } });
    await billing.isRefused('costs', 'OpenEpisode', episode, 422, 'DATE', { transient: { stay: { ...stay, start: day(5) } } });
    await billing.does('costs', 'OpenEpisode', episode, { transient: { stay } });
    const coverage = { from: day(-30), to: day(30), salt: salt() };
    await billing.isRefused('costs', 'ConfirmCoverage', { epi }, 403, 'WRONG_ORG', { transient: { coverage } });
    await adjudicator.does('costs', 'ConfirmCoverage', { epi }, { transient: { coverage } });
    const seen = await clinic.asks('costs', 'ReadEpisode', { epi });
    assert.deepEqual([seen.provider, seen.payer, seen.state], ['HospitalMSP', 'InsurerMSP', 'Open']);
    assert.ok(!JSON.stringify(seen).includes(sidPay));
});

test('charges are at the price in force, within the stay, once', async () => {
    const charge = { transient: { line: line(day(-4), codes.visit, 1_250_000) } };
    await clinic.isRefused('costs', 'PostCharge', { epi, seq: 1 }, 403, 'NOT_PROVIDER', charge);
    await billing.isRefused('costs', 'PostCharge', { epi, seq: 1 }, 422, 'PRICE', { transient: { line: line(day(-4), codes.visit, 1_250_001) } });
    await billing.isRefused('costs', 'PostCharge', { epi, seq: 1 }, 422, 'NO_EVIDENCE', { transient: { line: line(day(-4), codes.visit, 1_250_000, { evidence: {} }) } });
    await billing.does('costs', 'PostCharge', { epi, seq: 1 }, charge);
    await billing.isRefused('costs', 'PostCharge', { epi, seq: 1 }, 409, 'DUPLICATE', charge);
    await posts(2, four);
    // Verdicts, which are committed.
    const before = await posts(3, line(day(-10), codes.visit, 1_250_000));
    assert.deepEqual([before.state, before.code], ['Refused', 'OUTSIDE_STAY']);
    const twice = await posts(3, line(day(-4), codes.visit, 1_250_000));
    assert.deepEqual([twice.state, twice.code], ['Refused', 'DOUBLE_CHARGE']);
    const found = await sums();
    assert.deepEqual([found.charged, found.unclaimed], [6_870_800, 6_870_800]);
});

test('a device is charged when it is in the patient, and once', async () => {
    const device = line(day(), codes.device, 90_000_000, { evidence: { ...evidence, unit: nail.unit('N1') } });
    await billing.isRefused('costs', 'PostCharge', { epi, seq: 3 }, 422, 'NO_EVIDENCE', { transient: { line: device } });
    const surgeon = await practitioner('hospital', 'physician', 'implant');
    const operation = { unit: nail.unit('N1'), procedureRef: `Procedure/${fresh('p')}`, patientCommit: sha256(fresh('patient')) };
    await surgeon.does('devices', 'Implant', operation);
    assert.equal((await posts(3, device)).state, 'Posted');
    assert.equal((await posts(4, { ...device, salt: salt() })).code, 'UNIT_BILLED');
    await billing.does('costs', 'ReverseCharge', { epi, seq: 3, reason: 'WAIVED' });
});

const document = (more = {}) => ({
    billing: '1578387320',
    control,
    lines: [bills(1, day(-4), codes.visit, 1_250_000), bills(2, day(-3), codes.day, 5_620_800)],
    total: 6_870_800,
    salt: salt(),
    ...more,
});

test('a claim bills what was charged, and a second one is rejected', async () => {
    const wrong = fresh('claim');
    const rejected = await billing.does('costs', 'SubmitClaim', { id: wrong, epi }, { transient: { claim: document({ total: 6_870_801, control: fresh('c') }) } });
    assert.deepEqual([rejected.state, rejected.code], ['Rejected', 'TOTAL']);
    const differs = document({ lines: [bills(1, day(-4), codes.visit, 1_250_001)], total: 1_250_001 });
    await billing.isRefused('costs', 'SubmitClaim', { id: claim, epi }, 422, 'CHARGE_DIFFERS', { transient: { claim: differs } });
    await clinic.isRefused('costs', 'SubmitClaim', { id: claim, epi }, 403, 'NOT_PROVIDER', { transient: { claim: document() } });
    // Sent twice at once: one of the two is invalid, whichever identifiers it has.
    const [one, two] = await Promise.all([claim, fresh('claim')].map((id) =>
        billing.endorses('costs', 'SubmitClaim', { id, epi }, { transient: { claim: document() } })));
    assert.equal(await commits(one), StatusCode.VALID);
    assert.notEqual(await commits(two), StatusCode.VALID);
    const again = await billing.does('costs', 'SubmitClaim', { id: fresh('claim'), epi }, { transient: { claim: document() } });
    assert.deepEqual([again.state, again.code], ['Rejected', 'DUPLICATE']);
    await billing.isRefused('costs', 'CloseEpisode', { epi }, 422, 'OPEN_CLAIMS');
});

const decision = (...lines) => ({
    lines: lines.map(([allowed, paid, share], n) => ({ line: n + 1, allowed, paid, patient: share, reasons: ['45'] })),
    payment: lines.reduce((total, [, paid]) => total + paid, 0),
    salt: salt(),
});
const full = decision([1_250_000, 0, 1_250_000], [5_620_800, 4_496_640, 1_124_160]);

test('the insurer decides, the hospital disputes and appeals, and the regulator has the last word', async () => {
    await billing.isRefused('costs', 'Adjudicate', { id: claim }, 403, 'WRONG_ORG', { transient: { decision: full } });
    await adjudicator.isRefused('costs', 'Adjudicate', { id: claim }, 422, 'ALLOWED', { transient: { decision: decision([1_250_001, 0, 1_250_001], [5_620_800, 4_496_640, 1_124_160]) } });
    await adjudicator.isRefused('costs', 'Adjudicate', { id: claim }, 422, 'PAYMENT', { transient: { decision: { ...full, payment: full.payment + 1 } } });
    const denied = await adjudicator.does('costs', 'Adjudicate', { id: claim }, { transient: { decision: decision([0, 0, 0], [0, 0, 0]) } });
    assert.equal(denied.state, 'Denied');
    const reason = { id: claim, reason: 'TOO_LOW' };
    await billing.isRefused('costs', 'Appeal', reason, 409, 'LEVEL');
    await new Actor('hospital', 'patient', { 'hc.sidPay': pseudonym() }).isRefused('costs', 'Dispute', reason, 403, 'NOT_PATIENT');
    await billing.does('costs', 'Dispute', reason);
    await inspector.isRefused('costs', 'Resolve', { id: claim, outcome: 'Upheld' }, 403, 'WRONG_ORG');
    await adjudicator.does('costs', 'Resolve', { id: claim, outcome: 'Upheld' });
    await billing.does('costs', 'Appeal', reason);
    await adjudicator.isRefused('costs', 'Resolve', { id: claim, outcome: 'Upheld' }, 403, 'WRONG_ORG');
    await cashier.isRefused('costs', 'Pay', { id: claim, remitRef: 'EFT-1' }, 409, 'BAD_STATE');
    const resolved = await inspector.does('costs', 'Resolve', { id: claim, outcome: 'Changed' }, { transient: { decision: full }, at: ['hospital', 'insurer'] });
    assert.equal(resolved.state, 'Adjudicated');
    await billing.isRefused('costs', 'Dispute', reason, 409, 'FINAL');
});

test('what is paid and what goes back add up for hospital, insurer and patient', async () => {
    await adjudicator.isRefused('costs', 'Pay', { id: claim, remitRef: 'EFT-1' }, 403, 'WRONG_ROLE');
    await cashier.does('costs', 'Pay', { id: claim, remitRef: 'EFT-1' });
    await cashier.isRefused('costs', 'Pay', { id: claim, remitRef: 'EFT-1' }, 409, 'ALREADY_PAID');
    const amount = (value) => ({ transient: { amount: { amount: value, salt: salt() } } });
    await fraud.isRefused('costs', 'Recover', { id: claim, reason: 'OVERPAID' }, 422, 'OVER_RECOVERED', amount(4_496_641));
    await billing.does('costs', 'Refund', { id: claim, reason: 'OVERPAID' }, amount(96_640));
    await fraud.does('costs', 'Recover', { id: claim, reason: 'OVERPAID' }, amount(400_000));
    await billing.does('costs', 'CloseEpisode', { epi });
    const trace = await billing.asks('costs', 'TraceCost', { epi });
    assert.deepEqual(trace.sums.hospital, {
        billed: 6_870_800, received: 4_000_000, dueFromInsurer: 0, dueFromPatient: 2_374_160, writtenOff: 496_640, open: 0,
    });
    assert.deepEqual(trace.sums.insurer, { owed: 4_496_640, paid: 4_496_640, toPay: 0, returned: 496_640, net: 4_000_000 });
    assert.deepEqual(trace.sums.residue, [0, 0, 0, 0]);
    const settled = trace.claims.find(({ id }) => id === claim);
    assert.deepEqual(settled.history.map(({ state }) => state), [
        'Submitted', 'Denied', 'Disputed', 'Denied', 'Appealed', 'Adjudicated', 'Paid', 'Recovered', 'Recovered',
    ]);
    // Insurer, regulator and the patient see the same, each at a peer that holds it; others see none of it.
    for (const who of [adjudicator, inspector, auditor, patient]) {
        assert.deepEqual(await eventually(() => who.asks('costs', 'TraceCost', { epi })), trace);
    }
    await clinic.isNotAnswered('costs', 'TraceCost', { epi }, 403, 'NOT_PARTY');
    await new Actor('hospital', 'patient', { 'hc.sidPay': pseudonym() }).isNotAnswered('costs', 'TraceCost', { epi }, 403, 'NOT_PATIENT');
    await new Actor('maker', 'patient').isNotAnswered('costs', 'TraceCost', { epi }, 403, 'WRONG_ORG');
    await billing.isNotAnswered('costs', 'TraceCost', { epi }, 404, 'PRIVATE_DATA_NOT_HERE', { at: ['clinic'] });
    await new Actor('citizen', 'patient', { 'hc.sidPay': sidPay }).isNotAnswered('costs', 'TraceCost', { epi }, 403, 'NO_ACCESS');
});

test('everybody is told what happened, and nobody what it cost or whom it was for', async () => {
    const events = await eventsOf('costs');
    assert.deepEqual(events.map(({ name }) => name), [
        'PricesPublished', 'PepperSet', 'PricesLoaded', 'EpisodeOpened', 'CoverageConfirmed', 'ChargePosted', 'ChargePosted',
        'ChargeRefused', 'ChargeRefused', 'ChargePosted', 'ChargeRefused', 'ChargeReversed', 'ClaimRejected', 'ClaimSubmitted',
        'ClaimRejected', 'ClaimDenied', 'ClaimDisputed', 'ClaimResolved', 'ClaimAppealed', 'ClaimResolved', 'ClaimPaid',
        'ClaimRefunded', 'ClaimRecovered', 'EpisodeClosed',
    ]);
    assert.deepEqual(events.filter(({ name }) => name === 'ChargeRefused').map(({ ref }) => ref), ['OUTSIDE_STAY', 'DOUBLE_CHARGE', 'UNIT_BILLED']);
    await assertNothingLeaks(secrets, claim);
});
