// Mutual TLS with an enrollment certificate, in place of a token.

import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { before, test } from 'node:test';
import smart from 'fhirclient';
import { dir, organization } from '../lib/network.mjs';
import { base, isRefusal, kit, record } from './lib/clients.mjs';
import { person } from './lib/people.mjs';
import { created, few, observation } from './lib/patients.mjs';

let clerk;
let narrow;
let gone;
let other;
let patient;

// fhirclient without a token; its requests take an agent, which shows the certificate.
const nobody = { headers: {} };
const client = (org) => smart(nobody, nobody).client({ serverUrl: base(org) });
const showing = ({ certificate, key }) => new https.Agent({ cert: certificate, key });

// One request on a connection that shows a certificate.
function ask(org, agent, path, headers = {}) {
    return new Promise((resolve, reject) => {
        https.get(`${base(org)}${path}`, { agent, headers }, (response) => {
            const chunks = [];
            response.on('data', (chunk) => chunks.push(chunk));
            response.on('error', reject);
            response.on('end', () => {
                const body = JSON.parse(Buffer.concat(chunks).toString('utf8'));
                record(`GET ${path}`, response.statusCode, body);
                resolve({ status: response.statusCode, body });
            });
        }).on('error', reject);
    });
}

before(async () => {
    // All of them before the first certificate is shown: later ones would count within ten seconds.
    [clerk, narrow, gone, other] = await Promise.all([
        person('clinic', 'records'), person('clinic', 'physician', { 'hc.scope': 'user/Observation.rs' }),
        person('clinic', 'physician'), person('hospital', 'records'),
    ]);
    const { domain } = organization('clinic');
    rmSync(path.join(dir, 'organizations', domain, 'users', `${gone.name}@${domain}`), { recursive: true });
    const answer = await (await kit(clerk)).transaction({ body: few(1).bundle });
    patient = created(answer).Patient[0];
});

test('the certificate of an identity of the wallet is a login', async () => {
    const agent = showing(clerk);
    const read = await client('clinic').request({ url: `Patient/${patient}`, agent });
    record('GET Patient', 200, read);
    assert.equal(read.id, patient);
    const made = await client('clinic').create(observation(patient), { agent });
    record('POST Observation', 201, made);
    assert.equal(made.meta.versionId, '1');
    agent.destroy();
});

test('the purpose comes in a header, and has to be one', async () => {
    const agent = showing(clerk);
    for (const [purpose, status] of [['TREAT', 200], ['HRESCH', 403], ['CURIOSITY', 400]]) {
        const answer = await ask('clinic', agent, `/Patient/${patient}`, { 'x-purpose-of-use': purpose });
        assert.equal(answer.status, status, `${purpose}: ${JSON.stringify(answer.body)}`);
    }
    agent.destroy();
});

test('the bound of the certificate holds without a token too', async () => {
    const agent = showing(narrow);
    const answer = await ask('clinic', agent, `/Patient/${patient}`);
    isRefusal(answer.status, answer.body, 403, 'forbidden', 'SCOPE');
    agent.destroy();
});

test('no certificate, and one of the same authority that is not in the wallet, are no login', async () => {
    for (const agent of [new https.Agent(), showing(gone)]) {
        const answer = await ask('clinic', agent, `/Patient/${patient}`);
        isRefusal(answer.status, answer.body, 401, 'login', 'LOGIN');
        agent.destroy();
    }
});

test('a certificate of another authority does not even connect', async () => {
    const agent = showing(other);
    await assert.rejects(ask('clinic', agent, '/metadata'));
    agent.destroy();
});
