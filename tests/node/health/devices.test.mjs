// Devices, from the view of the maker, the regulator, two hospitals, a surgeon and a patient.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { status as grpcStatus } from '@grpc/grpc-js';
import { StatusCode } from '@hyperledger/fabric-gateway';
import { disconnect, eventually } from '../lib/members.mjs';
import { day, fresh, pseudonym, salt, sha256 } from '../lib/numbers.mjs';
import { Actor, commits } from './lib/actors.mjs';
import { Product, maker } from './lib/devices.mjs';
import { certifier, credential, inspector, practitioner, reinstates, suspends } from './lib/registry.mjs';
import { assertNothingLeaks, eventsOf } from './lib/story.mjs';

after(disconnect);

const supply = new Actor('hospital', 'supply');
const clinicSupply = new Actor('clinic', 'supply');
const recallDesk = new Actor('regulator', 'recall');
const anybody = new Actor('insurer', 'fraud');
const product = new Product();
const { di } = product;
const recall = fresh('Z');
const patient = { sid: pseudonym(), procedure: `Procedure/${fresh('p')}`, date: day(), salt: salt() };
let surgeon;

before(async () => {
    surgeon = await practitioner('hospital', 'physician');
});

test('nothing is made before the regulator has certified it', async () => {
    await product.registers();
    await maker.shipping.isRefused('devices', 'RegisterLot', { di, lot: product.lot, exp: day(400), qty: 4 }, 422, 'NOT_CERTIFIED');
    await maker.regulatory.isRefused('devices', 'RegisterProduct', { product: { di: '00844588018924', name: 'Nail', model: 'N', label: {} } }, 422, 'BAD_CHECK_DIGIT');
    await product.submits();
    await maker.regulatory.isRefused('devices', 'Certify', product.certification(), 403, 'WRONG_ORG');
    await certifier.isRefused('devices', 'Certify', { ...product.certification(), certNo: fresh('CERT') }, 422, 'OTHER_CERTIFICATE');
    assert.equal((await certifier.does('devices', 'Certify', product.certification())).state, 'Certified');
    await product.manufactures(['S1', 'S2', 'S3', 'S4']);
    await maker.shipping.isRefused('devices', 'RegisterUnits', { di, lot: product.lot, serials: ['S5'] }, 422, 'LOT_OVERRUN');
    await supply.isRefused('devices', 'RegisterUnits', { di, lot: product.lot, serials: ['S5'] }, 403, 'WRONG_ORG');
});

test('a unit is handed from holder to holder, and a copy is found out', async () => {
    await supply.isRefused('devices', 'Ship', product.shipment('clinic', 'S1'), 403, 'NOT_HOLDER');
    await maker.shipping.isRefused('devices', 'Ship', product.shipment('research', 'S1', 'S1'), 409, 'DUPLICATE');
    // The registry does not know the bureau.
    await maker.shipping.isRefused('devices', 'Ship', product.shipment('citizen', 'S1'), 422, 'UNKNOWN_ORG');
    await maker.shipping.does('devices', 'Ship', product.shipment('hospital', 'S1', 'S2'));
    await clinicSupply.isRefused('devices', 'Receive', product.reception('S1'), 403, 'NOT_RECEIVER');
    const received = await supply.does('devices', 'Receive', product.reception('S1', 'S2'));
    assert.equal(received.code, 'OK');
    await maker.shipping.does('devices', 'Ship', product.shipment('clinic', 'S3'));
    await clinicSupply.does('devices', 'Receive', product.reception('S3'));

    // The clinic finds a unit on its shelf that is the hospital's: evidence, and the real one stays in use.
    const scan = { carrier: product.carrier('S1'), place: 'STORE-2' };
    const verdict = await clinicSupply.does('devices', 'ScanUdi', scan);
    assert.equal(verdict.code, 'WRONG_HOLDER');
    const checks = [
        [product.carrier('S2'), 'OK'],
        [product.carrier('S9'), 'UNKNOWN_SERIAL'],
        [product.carrier('S2').replace(product.lot, 'L-other'), 'UNKNOWN_LOT'],
        ['(01)00844588018924', 'BAD_CHECK_DIGIT'],
        ['no carrier', 'MALFORMED'],
    ];
    for (const [carrier, code] of checks) {
        assert.equal((await supply.asks('devices', 'CheckUdi', { carrier })).code, code, carrier);
    }
    assert.equal((await supply.asks('devices', 'ReadUnit', { unit: product.unit('S1') })).state, 'InStock');
});

const operation = (serial) => ({ unit: product.unit(serial), procedureRef: patient.procedure });

test('only whose credential for implants is in force implants', async () => {
    // The contract's policy wants a second organization, which gets the transient data as well: the SDK sends
    // it nowhere until the hospital has said whom it trusts with it.
    const secret = { transient: { implant: patient } };
    const implant = { ...secret, at: ['hospital', 'regulator'] };
    await supply.isRefused('devices', 'Implant', operation('S1'), 403, 'WRONG_ROLE', implant);
    await new Actor('hospital', 'physician').isRefused('devices', 'Implant', operation('S1'), 403, 'CREDENTIAL', implant);
    // A physician, not a surgeon.
    await surgeon.isRefused('devices', 'Implant', operation('S1'), 403, 'CREDENTIAL', implant);
    const right = await credential('hospital', surgeon.pid, 'implant');
    await surgeon.isRefused('devices', 'Implant', operation('S3'), 403, 'NOT_HOLDER', implant);
    await surgeon.isRefused('devices', 'Implant', operation('S1'), 400, 'MALFORMED');
    await assert.rejects(surgeon.endorses('devices', 'Implant', operation('S1'), secret), {
        code: grpcStatus.FAILED_PRECONDITION,
        message: /not in the distribution policy of the private data collection\(s\): \[_implicit_org_HospitalMSP\]/,
    });
    // Suspended between the endorsement and the commit: the implant is invalid, and refused from then on.
    const raced = await surgeon.endorses('devices', 'Implant', operation('S1'), implant);
    await suspends(right);
    assert.equal(await commits(raced), StatusCode.MVCC_READ_CONFLICT);
    await surgeon.isRefused('devices', 'Implant', operation('S1'), 403, 'CREDENTIAL', implant);
    await reinstates(right);
    assert.equal((await surgeon.does('devices', 'Implant', operation('S1'), implant)).state, 'Implanted');
    await surgeon.isRefused('devices', 'Implant', operation('S1'), 409, 'ALREADY_USED', implant);
});

test('of two operations that use one unit, one is committed', async () => {
    const twice = await Promise.all(['one', 'two'].map((who) =>
        surgeon.endorses('devices', 'Implant', { ...operation('S2'), patientCommit: sha256(fresh(who)) })));
    assert.equal(await commits(twice[0]), StatusCode.VALID);
    assert.equal(await commits(twice[1]), StatusCode.MVCC_READ_CONFLICT);
});

test('who bears the unit, only its hospital knows, at its own peer', async () => {
    const question = { unit: product.unit('S1') };
    const records = new Actor('hospital', 'records');
    assert.equal((await eventually(() => records.asks('devices', 'ReadPatient', question))).patient.sid, patient.sid);
    await supply.isNotAnswered('devices', 'ReadPatient', question, 403, 'WRONG_ROLE');
    await new Actor('clinic', 'physician').isNotAnswered('devices', 'ReadPatient', question, 403, 'NOT_HOLDER');
    await maker.vigilance.isNotAnswered('devices', 'ReadPatient', question, 403, 'WRONG_ORG');
    for (const org of ['maker', 'regulator', 'clinic']) {
        await records.isNotAnswered('devices', 'ReadPatient', question, 404, 'PRIVATE_DATA_NOT_HERE', { at: [org] });
    }
    const trace = await anybody.asks('devices', 'TraceUnit', question);
    assert.deepEqual(trace.history.map(({ unit }) => [unit.state, unit.holder]), [
        ['Manufactured', 'MakerMSP'], ['InTransit', 'MakerMSP'], ['InStock', 'HospitalMSP'], ['Implanted', 'HospitalMSP'],
    ]);
    assert.match(trace.unit.patientCommit, /^[0-9a-f]{64}$/);
    assert.equal(trace.product.certificate.no, product.certNo);
});

test('a recall finds every unit and closes when all holders have answered', async () => {
    const opening = { no: recall, class: 'II', di, scope: { lots: [product.lot] } };
    await supply.isRefused('devices', 'OpenRecall', opening, 403, 'WRONG_ORG');
    await maker.regulatory.isRefused('devices', 'OpenRecall', opening, 403, 'WRONG_ROLE');
    await maker.vigilance.does('devices', 'ReportEvent', { eventId: fresh('event'), di, lot: product.lot, serial: 'S1', severity: 'serious', docHash: sha256(fresh('report')) });
    await recallDesk.isRefused('devices', 'OpenRecall', { ...opening, scope: { lots: ['none'] } }, 422, 'UNKNOWN_LOT');
    assert.equal((await recallDesk.does('devices', 'OpenRecall', opening)).state, 'Open');
    await clinicSupply.isRefused('devices', 'Ship', product.shipment('hospital', 'S3'), 422, 'RECALLED');
    assert.equal((await clinicSupply.asks('devices', 'CheckUdi', { carrier: product.carrier('S3') })).code, 'RECALLED');
    await anybody.isNotAnswered('devices', 'Affected', { no: recall }, 403, 'WRONG_ORG');
    const affected = await supply.asks('devices', 'Affected', { no: recall });
    assert.equal(affected.units.length, 4);
    // The hospital's records department learns which patient to call, nobody else does.
    const toCall = await new Actor('hospital', 'records').asks('devices', 'Affected', { no: recall });
    assert.ok(JSON.stringify(toCall).includes(patient.sid));
    assert.ok(!JSON.stringify(affected).includes(patient.sid));
    await recallDesk.isRefused('devices', 'CloseRecall', { no: recall }, 422, 'OPEN_HITS');
    const answer = (serial, action) => ({ no: recall, unit: product.unit(serial), action });
    await supply.isRefused('devices', 'AcknowledgeRecall', answer('S3', 'Quarantined'), 403, 'NOT_HOLDER');
    await supply.isRefused('devices', 'AcknowledgeRecall', answer('S1', 'Quarantined'), 409, 'BAD_STATE');
    await surgeon.does('devices', 'AcknowledgeRecall', answer('S1', 'PatientNotified'));
    await surgeon.does('devices', 'AcknowledgeRecall', answer('S2', 'PatientNotified'));
    await clinicSupply.does('devices', 'AcknowledgeRecall', answer('S3', 'Quarantined'));
    await maker.vigilance.does('devices', 'AcknowledgeRecall', answer('S4', 'Quarantined'));
    await maker.vigilance.isRefused('devices', 'CloseRecall', { no: recall }, 403, 'NOT_OPENER');
    assert.equal((await recallDesk.does('devices', 'CloseRecall', { no: recall })).state, 'Closed');
});

test('what is thrown away goes into a bag that the hospital sealed', async () => {
    const bag = fresh('bag');
    await surgeon.does('devices', 'Explant', { unit: product.unit('S2'), procedureRef: `Procedure/${fresh('p')}` });
    const thrown = { unit: product.unit('S2'), bagId: bag };
    await supply.isRefused('devices', 'DestroyUnit', thrown, 422, 'UNKNOWN_BAG');
    await new Actor('hospital', 'waste').does('waste', 'SealBag', { id: bag, code: '841-002-01', grams: 900, dept: 'OR-1', container: 'box' });
    await supply.does('devices', 'DestroyUnit', thrown);
    const found = await anybody.asks('devices', 'UnitsInBag', { bagId: bag });
    assert.deepEqual(found.units.map((unit) => [unit.unit.serial, unit.state]), [['S2', 'Destroyed']]);
    await inspector.isRefused('devices', 'ReleaseQuarantine', { unit: product.unit('S2'), finding: 'NONE' }, 409, 'BAD_STATE');
});

test('everybody is told what happened, and nobody who it was', async () => {
    const events = await eventsOf('devices');
    assert.deepEqual(events.map(({ name }) => name), [
        'ProductRegistered', 'CertificationSubmitted', 'ProductCertified', 'LotRegistered', 'UnitsRegistered', 'UnitsShipped',
        'UnitsReceived', 'UnitsShipped', 'UnitsReceived', 'UdiScanned', 'UnitImplanted', 'UnitImplanted', 'AdverseEventReported',
        'RecallOpened', 'RecallAcknowledged', 'RecallAcknowledged', 'RecallAcknowledged', 'RecallAcknowledged', 'RecallClosed',
        'UnitExplanted', 'UnitDestroyed',
    ]);
    const scanned = events.find(({ name }) => name === 'UdiScanned');
    assert.deepEqual([scanned.state, scanned.org, scanned.ref], ['WRONG_HOLDER', 'ClinicMSP', 'HospitalMSP']);
    assert.equal(events.find(({ name }) => name === 'RecallOpened').ref, '4');
    await assertNothingLeaks([patient.sid, patient.salt], recall);
});
