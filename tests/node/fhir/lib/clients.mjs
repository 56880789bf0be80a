// Clients of FHIR that were not written here, and a record of everything that they were answered.

import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import path from 'node:path';
import { Client } from 'fhir-kit-client';
import smart from 'fhirclient';
import { gatewayOf } from './people.mjs';

export const base = (org) => `${gatewayOf(org)}/fhir`;
const answers = process.env.ANSWERS;

// Keeps an answer for the validation in Python, which comes after the tests.
export function record(what, status, body) {
    if (answers) appendFileSync(path.join(answers, `${process.pid}.ndjson`), `${JSON.stringify({ what, status, body })}\n`);
}

const fetched = globalThis.fetch;
globalThis.fetch = async (request, init) => {
    const response = await fetched(request, init);
    const url = request.url ?? String(request);
    if (url.includes('/fhir') && !url.includes('/.well-known/')) {
        const text = await response.clone().text();
        if (text) record(`${request.method ?? init?.method ?? 'GET'} ${new URL(url).pathname}`, response.status, JSON.parse(text));
    }
    return response;
};

// npm's fhir-kit-client as this person.
export async function kit(person, options = {}) {
    const client = new Client({ baseUrl: base(person.org) });
    client.bearerToken = await person.token(options);
    return client;
}

// npm's fhirclient, the client of SMART, as this person.
export async function smartClient(person, options = {}) {
    const state = { serverUrl: base(person.org), tokenResponse: { access_token: await person.token(options) } };
    return smart(nobody, nobody).client(state);
}
// What it keeps sessions by; there are none.
const nobody = { headers: {}, connection: {} };

// Headers of an answer of fhir-kit-client.
export const headersOf = (answer) => Client.httpFor(answer).response.headers;

// The refusal of a request: status, FHIR's code and ours.
export async function refused(promise, status, issue, code) {
    const error = await promise.then(
        (answer) => assert.fail(`not refused: ${JSON.stringify(answer).slice(0, 500)}`),
        (failure) => failure,
    );
    if (!error.response) throw error;
    return isRefusal(error.response.status, error.response.data, status, issue, code);
}

export function isRefusal(told, body, status, issue, code) {
    const [first] = body.issue ?? [];
    assert.deepEqual(
        [told, body.resourceType, first?.code, first?.details?.coding?.[0]?.code],
        [status, 'OperationOutcome', issue, code],
        JSON.stringify(body).slice(0, 1000),
    );
    return first;
}

// One request as it is, for what no client would send.
export async function raw(org, method, url, { token, headers = {}, body } = {}) {
    const response = await fetch(`${base(org)}${url}`, {
        method,
        headers: { ...(token && { authorization: `Bearer ${token}` }), ...headers },
        body,
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text ? JSON.parse(text) : undefined };
}

export const json = { 'content-type': 'application/fhir+json' };
export const found = (bundle) => (bundle.entry ?? []).filter(({ search }) => search?.mode !== 'outcome').map(({ resource }) => resource);
export const transactionOf = (resource) => resource.meta.tag.find(({ system }) => system === 'urn:consilium:ledger-tx').code;
export const parameter = (parameters, name) => {
    const { name: _, ...value } = parameters.parameter.find((entry) => entry.name === name) ?? {};
    return Object.values(value)[0];
};
