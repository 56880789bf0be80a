// Devices: a model, its certification, a unit on its way, and what its code is worth; each organization
// at its own gateway.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { after, before, test } from 'node:test';
import { eventually } from '../lib/members.mjs';
import { fresh } from '../lib/numbers.mjs';
import { chain, transaction } from './lib/blocks.mjs';
import { found, headersOf, kit, parameter, refused } from './lib/clients.mjs';
import { person } from './lib/people.mjs';

// A GTIN-14 of nobody, with its check digit.
function gtin() {
    const head = `0${String(randomInt(10 ** 12)).padStart(12, '0')}`;
    const sum = [...head].reduce((total, digit, n) => total + Number(digit) * (n % 2 === 0 ? 3 : 1), 0);
    return `${head}${(10 - (sum % 10)) % 10}`;
}

const di = gtin();
const lot = 'L1';
const certNo = fresh('C');
const unit = { di, lot, serial: '7' };
const carrier = `(01)${di}(10)${lot}(21)7`;
const id = `${di}-${lot}-7`;
const gs1 = 'http://hl7.org/fhir/NamingSystem/gs1-di';
const definition = {
    resourceType: 'DeviceDefinition',
    udiDeviceIdentifier: [{ deviceIdentifier: di, issuer: gs1, jurisdiction: 'urn:iso:std:iso:3166' }],
    deviceName: [{ name: 'Humeral nail', type: 'model-name' }],
    modelNumber: 'HN-20',
    property: [{ type: { coding: [{ code: 'label' }] }, valueCode: [{ coding: [{ code: 'lot' }] }, { coding: [{ code: 'serial' }] }] }],
};
const device = { resourceType: 'Device', udiCarrier: [{ deviceIdentifier: di, issuer: gs1 }], lotNumber: lot, serialNumber: '7' };

let regulatory;
let shipping;
let supply;
let clinic;
const sdks = {};

before(async () => {
    const people = await Promise.all([
        person('maker', 'regulatory'), person('maker', 'shipping'), person('hospital', 'supply'), person('clinic', 'supply'), person('regulator', 'certifier'),
    ]);
    [regulatory, shipping, supply, clinic] = await Promise.all(people.slice(0, 4).map((each) => kit(each)));
    for (const [place, name] of ['regulatory', 'shipping', 'supply', 'clinic', 'certifier'].entries()) sdks[name] = people[place].sdk();
});

// Another organization's peer may be a moment behind what the last step wrote.
const does = (name, call, args) => eventually(() => sdks[name].does('devices', call, args));

after(() => Object.values(sdks).forEach((sdk) => sdk.close()));

test('a model is registered by a maker, once, under a number with a right check digit', async () => {
    const create = (client, body) => client.create({ resourceType: 'DeviceDefinition', body });
    await refused(create(clinic, definition), 403, 'forbidden', 'WRONG_ORG');
    const wrong = `${di.slice(0, -1)}${(Number(di.at(-1)) + 1) % 10}`;
    await refused(create(regulatory, { ...definition, udiDeviceIdentifier: [{ ...definition.udiDeviceIdentifier[0], deviceIdentifier: wrong }] }), 422, 'value', 'BAD_CHECK_DIGIT');
    const made = await create(regulatory, definition);
    assert.equal(made.udiDeviceIdentifier[0].deviceIdentifier, di);
    await refused(create(regulatory, definition), 409, 'duplicate', 'DUPLICATE');
    const model = await eventually(() => clinic.read({ resourceType: 'DeviceDefinition', id: made.id }));
    assert.deepEqual([model.modelNumber, model.deviceName[0].name], ['HN-20', 'Humeral nail']);
    const listed = await clinic.search({ resourceType: 'DeviceDefinition', searchParams: { identifier: di } });
    assert.deepEqual(found(listed).map((each) => each.id), [made.id]);
});

test('a unit needs a certified model and a registered lot', async () => {
    const create = () => shipping.create({ resourceType: 'Device', body: device });
    await refused(create(), 422, 'business-rule', 'NOT_CERTIFIED');
    await does('regulatory', 'SubmitCertification', { di, certNo, type: 'NMPA', docHashes: ['0'.repeat(64)] });
    await does('certifier', 'Certify', { di, certNo, validTo: 4_000_000_000 });
    await does('shipping', 'RegisterLot', { di, lot, qty: 2 });
    const made = await create();
    assert.equal(made.id, id);
    await refused(create(), 409, 'duplicate', 'DUPLICATE');
});

test('$trace leads from the maker to the hospital, with a Provenance of each step that the blocks confirm', async () => {
    await does('shipping', 'Ship', { units: [unit], to: 'HospitalMSP' });
    await does('supply', 'Receive', { units: [unit], scans: [carrier] });
    const read = await supply.read({ resourceType: 'Device', id });
    assert.deepEqual([read.owner.identifier.value, read.statusReason[0].coding[0].code], ['HospitalMSP', 'InStock']);
    const trace = await supply.operation({ resourceType: 'Device', id, name: '$trace', method: 'GET' });
    const steps = trace.entry.slice(1).map(({ resource }) => resource);
    assert.deepEqual(steps.map(({ activity }) => activity.coding[0].code), ['Manufactured', 'InTransit', 'InStock']);
    assert.deepEqual(steps.map(({ agent }) => agent[0].who.identifier.value), ['MakerMSP', 'MakerMSP', 'HospitalMSP']);
    const peer = chain('clinic');
    for (const step of steps) {
        const committed = await eventually(async () => transaction(await peer.holding(step.id), step.id));
        assert.equal(committed.author, step.agent[0].who.identifier.value);
    }
    peer.close();
});

test('a code is worth what the holder’s stock says; a scan leaves evidence', async () => {
    const ask = (client) => client.operation({ resourceType: 'Device', name: '$verify-udi', method: 'GET', input: { carrier } });
    assert.equal(parameter(await ask(supply), 'code'), 'OK');
    await eventually(async () => assert.equal(parameter(await ask(clinic), 'code'), 'WRONG_HOLDER'));
    const bundle = await clinic.search({ resourceType: 'Device', searchParams: { 'udi-carrier': carrier } });
    assert.deepEqual(found(bundle).map(({ serialNumber }) => serialNumber), ['7']);
    const scanned = await clinic.operation({
        resourceType: 'Device', name: '$verify-udi', method: 'POST',
        input: { resourceType: 'Parameters', parameter: [{ name: 'carrier', valueString: carrier }, { name: 'place', valueString: 'OR-1' }] },
    });
    assert.equal(parameter(scanned, 'code'), 'WRONG_HOLDER');
    assert.match(headersOf(scanned).get('link'), /\/Provenance\/[0-9a-f]{64}/);
    const unknown = await clinic.operation({
        resourceType: 'Device', name: '$verify-udi', method: 'GET', input: { carrier: carrier.replace(/7$/, '8') },
    });
    assert.equal(parameter(unknown, 'code'), 'UNKNOWN_SERIAL');
});

test('an organization’s stock is listed, and what is not there is not there', async () => {
    const held = await supply.search({ resourceType: 'Device', searchParams: { organization: 'HospitalMSP' } });
    assert.ok(found(held).some((each) => each.id === id));
    await refused(supply.read({ resourceType: 'Device', id: `${di}-${lot}-8` }), 404, 'not-found', 'NOT_FOUND');
    await refused(supply.read({ resourceType: 'DeviceDefinition', id: gtin() }), 404, 'not-found', 'NOT_FOUND');
});
