// What bad input gets: the right status, an OperationOutcome that says what and where, and no block.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { chain } from './lib/blocks.mjs';
import { isRefusal, json, kit, raw } from './lib/clients.mjs';
import { person } from './lib/people.mjs';
import { created, few, lines, observation } from './lib/patients.mjs';

let token;
let patient;
let peer;
let height;

before(async () => {
    const clerk = await person('clinic', 'records');
    token = await clerk.token();
    patient = created(await (await kit(clerk)).transaction({ body: few(1).bundle })).Patient[0];
    peer = chain('clinic');
    height = await peer.height();
});

after(async () => {
    const grown = await peer.height() - height;
    peer.close();
    assert.equal(grown, 0, 'refusals that were ordered');
});

const send = (url, body, headers = json) => raw('clinic', 'POST', url, { token, headers, body });
async function is(answer, status, issue, code) {
    const { status: told, body, headers } = await answer;
    assert.match(headers.get('content-type'), /^application\/fhir\+json/);
    return isRefusal(told, body, status, issue, code);
}

test('garbage is told what it is', async () => {
    for (const [url, body, status, issue, code] of [
        ['/Observation', '{', 400, 'structure', 'NOT_JSON'],
        ['/Observation', '\u0000\u0001', 400, 'structure', 'NOT_JSON'],
        ['/Observation', '', 400, 'structure', 'NOT_JSON'],
        ['/Observation', '['.repeat(5000), 400, 'structure', 'NOT_JSON'],
        ['/Observation', Buffer.from([0xff, 0xfe, 0x7b]), 400, 'structure', 'NOT_JSON'],
        ['/Observation', '[]', 400, 'structure', 'NOT_A_RESOURCE'],
        ['/Observation', '{}', 400, 'structure', 'NOT_A_RESOURCE'],
        ['/Observation', '{"resourceType":"Elephant"}', 400, 'structure', 'UNKNOWN_TYPE'],
        ['/Observation', '{"resourceType":"Patient"}', 400, 'invalid', 'WRONG_TYPE'],
        ['', '{"resourceType":"Patient"}', 400, 'invalid', 'WRONG_TYPE'],
        ['', '{"resourceType":"Bundle","type":"document"}', 400, 'not-supported', 'BUNDLE_TYPE'],
        ['', '{"resourceType":"Bundle","type":"transaction"}', 400, 'invalid', 'EMPTY'],
    ]) await is(send(url, body), status, issue, code);
});

test('types, operations and methods that are not served', async () => {
    await is(send('/Elephant', '{}'), 404, 'not-supported', 'UNKNOWN_TYPE');
    await is(send('/Basic', '{}'), 404, 'not-supported', 'UNKNOWN_TYPE');
    await is(send('/Patient/$sing', '{}'), 404, 'not-supported', 'UNKNOWN_OPERATION');
    await is(send('/AuditEvent', '{}'), 400, 'not-supported', 'NOT_SUPPORTED');
    for (const method of ['DELETE', 'PATCH']) {
        await is(raw('clinic', method, `/Patient/${patient}`, { token, headers: json, body: method === 'PATCH' ? '[]' : undefined }), 405, 'not-supported', 'METHOD');
    }
    await is(raw('clinic', 'GET', `/Patient/${patient}/$sing`, { token }), 404, 'not-supported', 'UNKNOWN_OPERATION');
    await is(raw('clinic', 'GET', `/Patient/${patient}/x/y/z`, { token }), 404, 'not-found', 'NOT_FOUND');
});

test('formats that are not served', async () => {
    for (const [type, code] of [
        ['text/plain', 'MEDIA_TYPE'], ['application/fhir+xml', 'MEDIA_TYPE'], ['application/fhir+json; fhirVersion=3.0', 'FHIR_VERSION'],
    ]) await is(send('/Observation', JSON.stringify(observation(patient)), { 'content-type': type }), 415, 'not-supported', code);
    for (const [url, accept] of [['/metadata?_format=xml', '*/*'], ['/metadata', 'application/fhir+xml']]) {
        assert.equal((await raw('clinic', 'GET', url, { headers: { accept } })).status, 406);
    }
});

test('too much', async () => {
    await is(send('/Observation', `"${'x'.repeat(33 * 1024 * 1024)}"`), 413, 'too-costly', 'TOO_LARGE');
    const entry = Array.from({ length: 1001 }, () => ({}));
    await is(send('', JSON.stringify({ resourceType: 'Bundle', type: 'transaction', entry })), 413, 'too-costly', 'TOO_MANY');
    const codes = Array.from({ length: 300 }, () => 'x').join(',');
    assert.equal((await raw('clinic', 'GET', `/Observation?patient=${patient}&code=${codes}`, { token })).status, 400);
});

test('nobody is signed in, or for something else', async () => {
    await is(raw('clinic', 'GET', `/Patient/${patient}`), 401, 'login', 'LOGIN');
    await is(raw('clinic', 'POST', '', { headers: json, body: '{' }), 401, 'login', 'LOGIN');
    const as = async (org, role, scope, body = observation(patient)) => raw(org, 'POST', '/Observation', {
        token: await (await person(org, role)).token({ scope }), headers: json, body: JSON.stringify(body),
    });
    await is(as('clinic', 'physician', 'user/Observation.rs'), 403, 'forbidden', 'SCOPE');
    await is(as('clinic', 'supply', 'user/*.cruds'), 403, 'forbidden', 'WRONG_ROLE');
    const elsewhere = { ...observation(patient), subject: { identifier: { system: 'urn:consilium', value: 'A'.repeat(26) } } };
    await is(as('insurer', 'adjudicator', 'user/*.cruds', elsewhere), 403, 'forbidden', 'NOT_CUSTODIAN');
});

test('values that are well formed and wrong', async () => {
    const wrong = (changed) => send('/Observation', JSON.stringify({ ...observation(patient), ...changed }));
    const loinc = (code) => ({ code: { coding: [{ system: 'http://loinc.org', code }] } });
    for (const [changed, status, code, path] of [
        [{ status: undefined }, 400, 'MISSING', 'Observation.status'],
        [{ status: 'perhaps' }, 400, 'UNKNOWN_CODE', 'Observation.status'],
        [{ colour: 'blue' }, 400, 'UNKNOWN_ELEMENT', 'Observation.colour'],
        [{ valueQuantity: { value: 'tall' } }, 400, undefined, 'Observation.valueQuantity.value'],
        [loinc('8302-3'), 422, 'BAD_CHECK_DIGIT', 'Observation.code.coding[0].code'],
        [{ effectiveDateTime: '2026-02-30' }, 422, 'NO_SUCH_DATE', 'Observation.effectiveDateTime'],
        [{ effectiveDateTime: undefined, effectivePeriod: { start: '2026-02-02', end: '2026-01-01' } }, 422, 'PERIOD', 'Observation.effectivePeriod'],
        [{ subject: { reference: 'Patient/nobody' } }, 422, 'UNKNOWN_PATIENT', 'Observation.subject'],
        [{ subject: undefined }, 422, 'NO_SUBJECT', 'Observation'],
    ]) {
        const { status: told, body } = await wrong(changed);
        const [issue] = body.issue;
        assert.equal(told, status, JSON.stringify(body));
        if (code) assert.equal(issue.details.coding[0].code, code);
        assert.ok(issue.expression?.[0].startsWith(path), `${path}: ${JSON.stringify(issue)}`);
        assert.match(issue.diagnostics, /\w+ \w+/);
    }
});

test('A12: resources of STU3 are told apart, with the element that gives them away, and nothing is stored', async () => {
    for (const [file, type, path] of [['stu3-device.ndjson', 'Device', 'Device.udi'], ['stu3-procedures.ndjson', 'Procedure', 'Procedure.context']]) {
        for (const resource of lines(file)) {
            const { status, body } = await send(`/${type}`, JSON.stringify(resource));
            assert.equal(status, 400);
            assert.ok(body.issue.some(({ details, expression }) => details.coding[0].code === 'FHIR_VERSION' && expression[0] === path), JSON.stringify(body));
        }
    }
});
