// Tokens: the grant of SMART backend services, and everything that is no such grant.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { before, test } from 'node:test';
import { fresh } from '../lib/numbers.mjs';
import { base, isRefusal, raw } from './lib/clients.mjs';
import { assertion, inSeconds, person } from './lib/people.mjs';

let doctor;
let narrow;

before(async () => {
    [doctor, narrow] = await Promise.all([
        person('clinic', 'physician'),
        person('clinic', 'physician', { 'hc.scope': 'user/Observation.rs' }),
    ]);
});

// The error of RFC 6749 §5.2, with a sentence.
function isError({ status, body }, expected, error, sentence = /\w+ \w+/) {
    assert.deepEqual([status, body.error], [expected, error], JSON.stringify(body));
    assert.match(body.error_description, sentence);
}

test('an assertion signed by the key of an identity is exchanged for a token that is not to be kept', async () => {
    const { status, headers, body } = await doctor.asks({ scope: 'openid user/*.rs user/Consent.read' });
    assert.equal(status, 200);
    assert.equal(headers.get('cache-control'), 'no-store');
    assert.deepEqual(
        { type: body.token_type, expires: body.expires_in, scope: body.scope },
        { type: 'bearer', expires: 300, scope: 'user/*.rs user/Consent.read' },
    );
    const answer = await raw('clinic', 'GET', '/DeviceDefinition?identifier=00844588018923', { token: body.access_token });
    assert.equal(answer.status, 200);
});

test('an assertion counts once', async () => {
    const once = { client_assertion: assertion(doctor.claims(), doctor.key) };
    assert.equal((await doctor.asks(once)).status, 200);
    isError(await doctor.asks(once), 401, 'invalid_client', /used before/);
});

test('what an assertion has to say is checked', async () => {
    for (const [changed, sentence] of [
        [{ exp: inSeconds(-60) }, /expired/],
        [{ exp: inSeconds(900) }, /five minutes/],
        [{ aud: `${base('hospital')}/oauth2/token` }, /aud/],
        [{ aud: base('clinic') }, /aud/],
        [{ sub: narrow.name }, /iss and sub/],
        [{ jti: '' }, /jti/],
        [{ jti: 'x'.repeat(300) }, /jti/],
    ]) {
        isError(await doctor.asks({ client_assertion: assertion(doctor.claims(changed), doctor.key) }), 401, 'invalid_client', sentence);
    }
});

test('nobody learns from a refusal who is known here', async () => {
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' });
    const name = fresh('nobody');
    const told = [];
    for (const client_assertion of [
        assertion(doctor.claims(), stranger),
        assertion(doctor.claims(), narrow.key),
        assertion(doctor.claims({ iss: name, sub: name }), stranger),
        assertion(doctor.claims({ iss: '../Admin', sub: '../Admin' }), doctor.key),
        `${assertion(doctor.claims(), doctor.key).slice(0, -8)}AAAAAAAA`,
    ]) {
        const answer = await doctor.asks({ client_assertion });
        isError(answer, 401, 'invalid_client');
        told.push(answer.body.error_description);
    }
    assert.equal(new Set(told).size, 1, told.join('\n'));
});

test('an unsigned assertion, and one signed by the name of a public key as a secret, are none', async () => {
    const [, payload] = assertion(doctor.claims(), doctor.key).split('.');
    const header = (alg) => Buffer.from(JSON.stringify({ alg, typ: 'JWT' })).toString('base64url');
    for (const alg of ['none', 'HS256']) {
        const { status } = await doctor.asks({ client_assertion: `${header(alg)}.${payload}.AAAA` });
        assert.ok([400, 401].includes(status), `${alg}: ${status}`);
    }
});

test('a grant that is another, or malformed, is refused in the words of the RFC', async () => {
    isError(await doctor.asks({ grant_type: 'password' }), 400, 'unsupported_grant_type');
    isError(await doctor.asks({ client_assertion_type: 'x' }), 400, 'invalid_request');
    isError(await doctor.asks({ client_assertion: 'a.b.c' }), 400, 'invalid_request');
    isError(await doctor.asks({ client_assertion: 'x'.repeat(10_000) }), 400, 'invalid_request');
    const post = (init) => fetch(doctor.endpoint, { method: 'POST', ...init });
    for (const init of [
        { body: new URLSearchParams({ scope: 'user/*.rs' }) },
        { body: '{"grant_type":"client_credentials"}', headers: { 'content-type': 'application/json' } },
        {},
    ]) {
        const answer = await post(init);
        isError({ status: answer.status, body: await answer.json() }, 400, 'invalid_request', /./);
    }
});

test('scopes stay within what the certificate has', async () => {
    const { body } = await narrow.asks({ scope: 'user/Observation.r user/Condition.rs user/Observation.cruds' });
    assert.equal(body.scope, 'user/Observation.r');
    for (const scope of ['user/*.cruds', 'system/Observation.rs', 'openid', '', 'user/Observation.rs?category=lab']) {
        isError(await narrow.asks({ scope }), 400, 'invalid_scope', /may have none/);
    }
    const token = await narrow.token({ scope: 'user/Observation.r' });
    const answer = await raw('clinic', 'GET', '/Condition?patient=x', { token });
    isRefusal(answer.status, answer.body, 403, 'forbidden', 'SCOPE');
});

test('a token of another gateway, a changed one and another scheme are no login', async () => {
    const elsewhere = await (await person('hospital', 'physician')).token();
    const token = await doctor.token();
    const [header, , signature] = token.split('.');
    const claims = Buffer.from(JSON.stringify({ sub: 'Admin', scope: 'user/*.cruds', exp: inSeconds(100) })).toString('base64url');
    for (const authorization of [
        `Bearer ${elsewhere}`, `Bearer ${token.slice(0, -6)}AAAAAA`, `Bearer ${header}.${claims}.${signature}`, 'Bearer x', 'Basic eDp5',
    ]) {
        const answer = await raw('clinic', 'GET', '/Patient/1', { headers: { authorization } });
        isRefusal(answer.status, answer.body, 401, 'login', 'LOGIN');
        assert.match(answer.headers.get('www-authenticate'), /^Bearer/);
    }
});
