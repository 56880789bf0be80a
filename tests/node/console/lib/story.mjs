// A little of everything, so that the pages have something to show.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { msp } from '../../lib/members.mjs';
import { dir } from '../../lib/network.mjs';
import { DAY, day, fresh, gtin, manifestNumber, now, pseudonym, residentNumber, salt, sha256 } from '../../lib/numbers.mjs';
import { Person } from './people.mjs';

// What an earlier run on this network has left: prices, for one, are published once for a day.
const file = path.join(dir, 'console-tests.json');
const earlier = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;

const sid = earlier?.sid ?? pseudonym();
export const people = {
    billing: new Person('hospital', 'billing'),
    nurse: new Person('hospital', 'nurse'),
    ward: new Person('hospital', 'waste'),
    adjudicator: new Person('insurer', 'adjudicator'),
    auditor: new Person('regulator', 'auditor'),
    environment: new Person('regulator', 'environment'),
    supply: new Person('hospital', 'supply'),
    issuer: new Person('citizen', 'issuer'),
    patient: new Person('citizen', 'patient', { 'hc.sid': sid }),
    investigator: new Person('research', 'investigator', { 'hc.pid': fresh('pid') }),
};

for (const [key, name] of Object.entries(earlier?.names ?? {})) people[key].name = name;

async function device() {
    const regulatory = new Person('maker', 'regulatory');
    const shipping = new Person('maker', 'shipping');
    const [di, certNo, lot, serial, recall] = [gtin(), fresh('CERT'), fresh('L'), 'S1', fresh('R')];
    const unit = { di, lot, serial };
    const label = { lot: true, serial: true, expires: true };
    await regulatory.does('devices', 'RegisterProduct', { product: { di, name: 'Humeral nail', model: 'HN-20', label } });
    await regulatory.does('devices', 'SubmitCertification', { di, certNo, type: 'CLASS-III', docHashes: [sha256(certNo)] });
    await new Person('regulator', 'certifier').does('devices', 'Certify', { di, certNo, validTo: now() + 365 * DAY });
    const expires = day(400);
    await shipping.does('devices', 'RegisterLot', { di, lot, mfg: day(-30), exp: expires, qty: 1 });
    await shipping.does('devices', 'RegisterUnits', { di, lot, serials: [serial] });
    await shipping.does('devices', 'Ship', { units: [unit], to: msp('hospital') });
    const scan = `(01)${di}(17)${expires.slice(2).replaceAll('-', '')}(10)${lot}(21)${serial}`;
    await people.supply.does('devices', 'Receive', { units: [unit], scans: [scan] });
    await new Person('regulator', 'recall').does('devices', 'OpenRecall', { no: recall, class: 'II', di, scope: { lots: [lot] } });
    return { ...unit, recall };
}

async function waste() {
    const carrier = new Person('waste', 'carrier');
    const disposer = new Person('waste', 'disposer');
    const no = manifestNumber();
    const [first, second, kept] = [fresh('bag'), fresh('bag'), fresh('bag')];
    const sealed = { code: '841-001-01', grams: 1000, dept: 'WARD-3', container: 'box' };
    await Promise.all([first, second].map((id) => people.ward.does('waste', 'SealBag', { id, ...sealed })));
    await people.ward.does('waste', 'SealBag', { id: kept, ...sealed, sealedAt: now() - 3 * DAY });
    await people.ward.does('waste', 'CreateManifest', { no, carriers: [msp('waste')], disposer: msp('waste'), bags: [first, second] });
    await people.ward.does('waste', 'HandOver', { no, count: 2, grams: 2000 });
    await carrier.does('waste', 'AcceptCarriage', { no, vehicle: 'V-7', count: 2, grams: 2000 });
    await carrier.does('waste', 'Deliver', { no });
    // The second weighs less than it did: a flag that holds the manifest up.
    await disposer.does('waste', 'AcceptAtFacility', { no, bags: [{ bag: first, grams: 1000 }, { bag: second, grams: 700 }] });
    return { manifest: no, bag: kept };
}

async function claim() {
    const { billing, adjudicator } = people;
    const payer = { payer: msp('insurer') };
    const [version, episode, id] = [fresh('v'), fresh('epi'), fresh('claim')];
    const code = { system: 'HCPCS', code: 'A7731' };
    const page = { entries: [{ ...code, price: 1_250_000 }], salt: salt() };
    await billing.does('costs', 'PublishPrices', { version, from: day(-30), currency: 'USD', pages: [sha256(JSON.stringify(page))] });
    await billing.does('costs', 'SetPepper', payer, { transient: { pepper: { pepper: randomBytes(32).toString('hex') } } });
    await billing.does('costs', 'LoadPrices', { ...payer, version, page: 0 }, { transient: { page } });
    const stay = { sidPay: pseudonym(), reference: fresh('checkin'), start: day(-5), salt: salt() };
    await billing.does('costs', 'OpenEpisode', { epi: episode, ...payer, type: 'inpatient', currency: 'USD' }, { transient: { stay } });
    const coverage = { from: day(-30), to: day(30), salt: salt() };
    await adjudicator.does('costs', 'ConfirmCoverage', { epi: episode }, { transient: { coverage } });
    const line = {
        date: day(-4), ...code, qty: 1, unitPrice: 1_250_000, amount: 1_250_000,
        evidence: { record: fresh('rec'), order: fresh('order') }, page: 0, salt: salt(),
    };
    await billing.does('costs', 'PostCharge', { epi: episode, seq: 1 }, { transient: { line } });
    const lines = [{ charge: 1, date: line.date, ...code, net: 1_250_000 }];
    const document = { billing: '1578387320', control: fresh('control'), lines, total: 1_250_000, salt: salt() };
    await billing.does('costs', 'SubmitClaim', { id, epi: episode }, { transient: { claim: document } });
    const decided = { line: 1, allowed: 1_250_000, paid: 1_000_000, patient: 250_000, reasons: ['45'] };
    await adjudicator.does('costs', 'Adjudicate', { id }, { transient: { decision: { lines: [decided], payment: 1_000_000, salt: salt() } } });
    await new Person('insurer', 'cashier').does('costs', 'Pay', { id, remitRef: 'EFT-1' });
    return { episode };
}

async function card() {
    const { issuer } = people;
    const handle = fresh('card');
    const key = () => randomBytes(32).toString('hex');
    const epoch = (await issuer.asks('card', 'ReadEpochs', {})).last + 1;
    await issuer.does('card', 'SetEpochKey', { epoch }, { transient: { keys: { care: key(), pay: key(), device: key(), salt: salt() } } });
    const { kty, crv, x, y } = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
    const birth = '1949-12-31';
    const proof = { idType: 'resident-id', idNo: residentNumber(birth), name: 'Somebody', birth, salt: salt() };
    await issuer.does('card', 'Apply', { handle, scheme: 'health-card', cardKey: { kty, crv, x, y } }, { transient: { proof } });
    await issuer.does('card', 'Activate', { handle, evidenceHash: sha256(handle), level: 2, validTo: now() + 365 * DAY });
    await issuer.does('card', 'Suspend', { handle, reason: 'LOST' });
    return { handle };
}

async function research() {
    const [dataset, project, dar] = [fresh('ds'), fresh('proj'), fresh('dar')];
    const dpo = new Person('hospital', 'dpo', { 'hc.pid': fresh('pid') });
    const board = new Person('research', 'ethics', { 'hc.pid': fresh('pid') });
    const diseases = ['MONDO:0005148'];
    const policyHash = sha256('terms');
    const use = { permission: 'DUO:0000007', diseases: [{ code: diseases[0] }], modifiers: [{ code: 'DUO:0000021' }] };
    await dpo.does('research', 'RegisterDataset', { dataset: { id: dataset, schema: 'OMOP:5.4', size: '100-499', use, policyHash } });
    const { investigator } = people;
    await investigator.does('research', 'RegisterProject', {
        project: { id: project, purpose: 'disease', diseases, countries: ['CN'], protocolHash: sha256('protocol') },
    });
    await board.does('research', 'DecideEthics', { project, verdict: 'Approved', docHash: sha256('vote'), until: now() + 700 * DAY });
    await investigator.does('research', 'RequestData', { dar, dataset, project, terms: { months: 6 } });
    await dpo.does('research', 'DecideRequest', { dar, verdict: 'Approved' });
    await investigator.does('research', 'AcceptTerms', { dar, policyHash });
    return { application: dar };
}

async function consent() {
    const provisions = [{ type: 'permit', orgs: [msp('hospital')], purposes: ['TREAT'], kinds: ['lab'] }];
    const given = { id: fresh('con'), period: { to: now() + 30 * DAY }, provisions };
    await people.patient.does('records', 'PutConsent', { sid, consent: given });
    return { sid };
}

// What happened, once for a network; the ids by page.
export async function tell() {
    if (earlier) return earlier.told;
    const [unit, load, bill, opened, application, patient] = await Promise.all(
        [device(), waste(), claim(), card(), research(), consent(), ...Object.values(people).map((person) => person.enrols())],
    );
    const { recall, ...of } = unit;
    const told = { device: of, recalls: { recall }, waste: load, claim: bill, card: opened, research: application, patient };
    const names = Object.fromEntries(Object.entries(people).map(([key, { name }]) => [key, name]));
    writeFileSync(file, JSON.stringify({ told, names, sid }));
    return told;
}
