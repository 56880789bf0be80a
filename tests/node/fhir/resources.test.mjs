// Resources one by one: create, read, versions, search.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, test } from 'node:test';
import { eventually } from '../lib/members.mjs';
import { found, headersOf, isRefusal, json, kit, raw, record, refused, smartClient, transactionOf } from './lib/clients.mjs';
import { person } from './lib/people.mjs';
import { created, few, observation } from './lib/patients.mjs';

let doctor;
let clerk;
let client;
let who;
let patient;

before(async () => {
    [doctor, clerk] = await Promise.all([person('clinic', 'physician'), person('clinic', 'records')]);
    client = await kit(doctor, { purpose: 'TREAT' });
    who = few(8);
    patient = created(await (await kit(clerk)).transaction({ body: who.bundle })).Patient[0];
});

test('what is created has an id, a version, an ETag and a transaction', async () => {
    const made = await client.create({ resourceType: 'Observation', body: observation(patient) });
    const headers = headersOf(made);
    assert.match(made.id, /^[0-9a-f-]{36}$/);
    assert.equal(made.meta.versionId, '1');
    assert.equal(headers.get('etag'), 'W/"1"');
    assert.ok(headers.get('location').endsWith(`/Observation/${made.id}/_history/1`), headers.get('location'));
    assert.match(transactionOf(made), /^[0-9a-f]{64}$/);
    assert.ok(headers.get('link').includes(`/Provenance/${transactionOf(made)}`));
    const read = await client.read({ resourceType: 'Observation', id: made.id });
    assert.deepEqual(read, made);
    assert.equal(read.valueQuantity.value, 172);
});

test('an update is a new version; the old ones stay', async () => {
    const made = await client.create({ resourceType: 'Observation', body: observation(patient, 170) });
    const { id } = made;
    const put = (value, etag) => client.update({
        resourceType: 'Observation', id, body: { ...made, valueQuantity: { ...made.valueQuantity, value } }, options: { headers: { 'if-match': etag } },
    });
    const second = await put(171, 'W/"1"');
    assert.equal(second.meta.versionId, '2');
    assert.equal(headersOf(second).get('etag'), 'W/"2"');
    await refused(put(169, 'W/"1"'), 412, 'conflict', 'VERSION');
    await refused(put(169, 'W/"7"'), 412, 'conflict', 'VERSION');
    const values = [];
    for (const version of ['1', '2']) values.push((await client.vread({ resourceType: 'Observation', id, version })).valueQuantity.value);
    assert.deepEqual(values, [170, 171]);
    await refused(client.vread({ resourceType: 'Observation', id, version: '3' }), 404, 'not-found', 'NOT_FOUND');
    const history = await client.history({ resourceType: 'Observation', id });
    assert.deepEqual([history.type, history.total], ['history', 2]);
    assert.deepEqual(history.entry.map(({ resource }) => resource.meta.versionId), ['2', '1']);
    assert.equal(new Set(history.entry.map(({ resource }) => transactionOf(resource))).size, 2);
});

test('two updates of one version: one is done, the other told', async () => {
    const made = await client.create({ resourceType: 'Observation', body: observation(patient) });
    const put = (value) => client.update({
        resourceType: 'Observation', id: made.id, body: { ...made, valueQuantity: { value } }, options: { headers: { 'if-match': 'W/"1"' } },
    });
    const outcomes = await Promise.allSettled([put(1), put(2)]);
    const lost = outcomes.filter(({ status }) => status === 'rejected').map(({ reason }) => reason.response?.status);
    assert.equal(lost.length, 1, JSON.stringify(outcomes));
    assert.ok([409, 412].includes(lost[0]), String(lost));
});

test('ids are the server’s, and nothing is deleted', async () => {
    const id = randomUUID();
    await refused(client.update({ resourceType: 'Observation', id, body: { ...observation(patient), id } }), 405, 'not-supported', 'NO_CLIENT_IDS');
    await refused(client.delete({ resourceType: 'Patient', id: patient }), 405, 'not-supported', 'METHOD');
    await refused(client.read({ resourceType: 'Observation', id }), 404, 'not-found', 'NOT_FOUND');
    // What somebody has under another type is not there either, in the same words.
    await refused(client.read({ resourceType: 'Observation', id: patient }), 404, 'not-found', 'NOT_FOUND');
});

test('a request that is repeated is done once', async () => {
    const token = await doctor.token();
    const send = (id, value) => raw('clinic', 'POST', '/Observation', {
        token, headers: { ...json, 'x-request-id': id }, body: JSON.stringify(observation(patient, value)),
    });
    const id = randomUUID();
    const first = await send(id, 150);
    assert.equal(first.status, 201);
    const again = await send(id, 150);
    assert.equal(again.headers.get('location'), first.headers.get('location'));
    const other = await send(id, 151);
    isRefusal(other.status, other.body, 409, 'conflict', 'REQUEST_ID_REUSED');
    const wrong = randomUUID();
    assert.equal((await send(wrong, 'tall')).status, 400);
    assert.equal((await send(wrong, 152)).status, 201, 'a refused request may be corrected under the same id');
    const many = await send('x'.repeat(65), 150);
    assert.equal(many.status, 400);
});

test('a search pages through all there is, once', async () => {
    let page = await client.search({ resourceType: 'Observation', searchParams: { patient, category: 'laboratory', _count: 3, _sort: 'date' } });
    assert.equal(page.total, 8);
    const seen = [];
    while (page) {
        seen.push(...found(page));
        assert.ok(found(page).length <= 3);
        page = page.link.some(({ relation }) => relation === 'next') ? await client.nextPage({ bundle: page }) : undefined;
    }
    assert.equal(new Set(seen.map(({ id }) => id)).size, 8);
    const dates = seen.map(({ effectiveDateTime }) => Date.parse(effectiveDateTime));
    assert.deepEqual(dates, [...dates].sort((a, b) => a - b));
});

test('fhirclient pages and resolves references by itself', async () => {
    const smart = await smartClient(doctor, { purpose: 'TREAT' });
    const pages = await smart.request(
        `Observation?patient=${patient}&category=laboratory&_count=5`,
        { pageLimit: 0, flat: true, resolveReferences: ['subject'] },
    );
    assert.equal(pages.length, 8);
    for (const resource of pages) {
        record('fhirclient search', 200, { ...resource, subject: undefined });
        assert.equal(resource.subject.id, patient);
        assert.equal(resource.subject.name[0].family, who.bundle.entry[0].resource.name[0].family);
    }
});

test('searches are by what FHIR publishes, and an unknown filter is no filter', async () => {
    const some = found(await client.search({ resourceType: 'Observation', searchParams: { patient, _count: 1 } }))[0];
    const [{ system, code }] = some.code.coding;
    for (const [query, expected] of [
        [{ code: `${system}|${code}` }, true],
        [{ code: '9999-9' }, false],
        [{ status: 'final' }, true],
        [{ status: 'amended,entered-in-error' }, false],
        [{ date: 'lt1990' }, false],
        [{ _id: some.id }, true],
        [{ _lastUpdated: 'gt2100' }, false],
    ]) {
        const { total } = await client.search({ resourceType: 'Observation', searchParams: { patient, ...query } });
        assert.equal(total > 0, expected, JSON.stringify(query));
    }
    const search = (searchParams, options) => client.search({ resourceType: 'Observation', searchParams, options });
    await refused(search({ patient, elephant: '1' }), 400, 'not-supported', 'UNKNOWN_PARAMETER');
    assert.ok((await search({ patient, elephant: '1' }, { headers: { prefer: 'handling=lenient' } })).total > 0);
    await refused(search({ code }), 400, 'invalid', 'NO_PATIENT');
    const posted = await search({ patient, status: 'final' }, { postSearch: true });
    assert.ok(posted.total > 0);
    assert.equal((await search({ patient, _summary: 'count' })).entry, undefined);
});

test('a patient is found by number, name and birth date, and matched by number only', async () => {
    const { resource } = who.bundle.entry[0];
    const [{ family }] = resource.name;
    const system = 'http://hl7.org/fhir/sid/us-ssn';
    const byNumber = await client.search({ resourceType: 'Patient', searchParams: { identifier: `${system}|${who.number}` } });
    assert.deepEqual(found(byNumber).map(({ id }) => id), [patient]);
    const byBoth = await client.search({ resourceType: 'Patient', searchParams: { identifier: `${system}|${who.number}`, family, birthdate: resource.birthDate } });
    assert.equal(byBoth.total, 1);
    const match = (person) => client.operation({
        resourceType: 'Patient', name: '$match', method: 'POST',
        input: { resourceType: 'Parameters', parameter: [{ name: 'resource', resource: person }] },
    });
    assert.equal((await match(resource)).total, 1);
    const { resourceType, name, birthDate } = resource;
    assert.equal((await match({ resourceType, name, birthDate })).total, 0, 'a name is no identity');
});

test('everything of a patient is there, and what others write of it comes with its proof', async () => {
    const everything = await client.operation({ resourceType: 'Patient', id: patient, name: '$everything', method: 'GET' });
    const types = new Set(found(everything).map(({ resourceType }) => resourceType));
    assert.ok(types.has('Patient') && types.has('Observation') && types.has('ImagingStudy'), [...types].join(' '));
    const proven = await client.search({ resourceType: 'ImagingStudy', searchParams: { patient, '_revinclude': 'Provenance:target' } });
    assert.deepEqual(found(proven).map(({ resourceType }) => resourceType), ['ImagingStudy', 'Provenance']);
});

test('where no documents are kept, the ledger says what others keep, and no more than that', async () => {
    const insurer = await kit(await person('insurer', 'adjudicator'));
    const search = (resourceType) => insurer.search({ resourceType, searchParams: { patient: who.sid, _count: 200 } });
    const kept = await eventually(async () => {
        const list = found(await search('DocumentReference'));
        assert.ok(list.length >= 10, `${list.length} documents`);
        return list;
    });
    for (const document of kept) {
        assert.equal(document.category[0].coding[0].system, 'urn:consilium:record-kind');
        assert.equal(document.custodian.identifier.value, 'ClinicMSP');
    }
    assert.ok(!JSON.stringify(kept).includes(who.number));
    await refused(search('Observation'), 403, 'forbidden', 'NOT_CUSTODIAN');
});
