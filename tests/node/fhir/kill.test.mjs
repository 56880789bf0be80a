// The gateway is killed in the middle of a transaction and of an import. When it is back nothing is half
// done: what the ledger has is there, what it has not is not, and the same request leads to the end.

import assert from 'node:assert/strict';
import { randomInt, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { found, json, kit, parameter, raw } from './lib/clients.mjs';
import { kill, start } from './lib/nodes.mjs';
import { person } from './lib/people.mjs';
import { created, somebody } from './lib/patients.mjs';

let clerk;
let doctor;
let peer;

before(async () => {
    [clerk, doctor] = await Promise.all([person('clinic', 'records'), person('clinic', 'physician')]);
    peer = clerk.sdk();
});

after(() => peer.close());

const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

// How many records of a subject the ledger has.
async function onLedger(sid) {
    let [count, bookmark] = [0, undefined];
    do {
        const args = { sid, ...(bookmark && { bookmark }) };
        const page = JSON.parse(Buffer.from(await peer.contract('records').evaluate('ListRecords', { arguments: [JSON.stringify(args)] })));
        count += page.entries.length;
        ({ bookmark } = page);
    } while (bookmark);
    return count;
}

// How many documents the gateway finds of a subject; each document is opened.
async function kept(client, patient) {
    let [page, all] = [await client.operation({ resourceType: 'Patient', id: patient, name: '$everything', method: 'GET', input: { _count: 200 } }), []];
    while (page) {
        all.push(...found(page));
        page = page.link?.some(({ relation }) => relation === 'next') ? await client.nextPage({ bundle: page }) : undefined;
    }
    return all.length;
}

test('a transaction of 237 resources', async () => {
    // From before anything was sent to after everything was done.
    const moments = [60, 350, 500, 700, 1000, 1600].map((moment) => moment + randomInt(100));
    for (const moment of moments) {
        const who = somebody();
        const id = randomUUID();
        const send = async () => raw('clinic', 'POST', '', {
            token: await clerk.token(), headers: { ...json, 'x-request-id': id }, body: JSON.stringify(who.bundle),
        });
        const first = send().catch(() => undefined);
        await pause(moment);
        kill('clinic');
        await first;
        await start('clinic');
        const client = await kit(doctor, { purpose: 'TREAT' });
        const identifier = `http://hl7.org/fhir/sid/us-ssn|${who.number}`;
        // What was ordered is committed whether the gateway lives or not, perhaps only now.
        const [records, patients] = await until(
            async () => [await onLedger(who.sid), (await client.search({ resourceType: 'Patient', searchParams: { identifier } })).total],
            ([ledger, surface]) => ledger === surface * 235,
        );
        assert.ok([0, 235].includes(records), `killed after ${moment} ms: ${records} of 235 records`);
        assert.equal(patients, records ? 1 : 0, `killed after ${moment} ms: the surface has what the ledger has`);
        const again = await until(send, ({ status }) => status === 200);
        assert.equal(again.status, 200, JSON.stringify(again.body).slice(0, 500));
        assert.equal(await onLedger(who.sid), 235, 'once, whenever it was killed');
        const { Patient: [patient] } = created(again.body);
        assert.equal(await kept(await kit(doctor, { purpose: 'TREAT' }), patient), 235);
    }
});

// Asks a few times, while the gateway settles what was under way.
async function until(ask, done) {
    for (let n = 0; ; n += 1) {
        const answer = await ask();
        if (done(answer) || n === 200) return answer;
        await pause(300);
    }
}

// Johnnie's history as lines, with plain references and ids of one source, and three that are none.
function ndjson(bundle, source) {
    let text = bundle.entry.map(({ resource }) => JSON.stringify({ ...resource, id: `${source}-${resource.id}` })).join('\n');
    for (const { fullUrl, resource } of bundle.entry) text = text.replaceAll(fullUrl, `${resource.resourceType}/${source}-${resource.id}`);
    const unknown = { resourceType: 'Observation', id: 'x', status: 'final', code: { text: 'x' }, subject: { reference: 'Patient/unknown' } };
    return `${text}\n{"resourceType":"Observation"}\nnonsense\n${JSON.stringify(unknown)}\n`;
}

test('an import goes on where the ledger is', async () => {
    const people = Array.from({ length: 4 }, () => somebody());
    const body = people.map(({ bundle }, source) => ndjson(bundle, source)).join('');
    const job = `night-${randomUUID().slice(0, 8)}`;
    const send = async () => raw('clinic', 'POST', `/$import?job=${job}`, {
        token: await clerk.token(), headers: { 'content-type': 'application/fhir+ndjson' }, body,
    });
    for (const moment of [400, 900, 1500]) {
        const running = send().catch(() => undefined);
        await pause(moment + randomInt(200));
        kill('clinic');
        await running;
        await start('clinic');
    }
    const done = await until(send, ({ status }) => status === 200);
    assert.equal(done.status, 200, JSON.stringify(done.body));
    assert.deepEqual(
        ['lines', 'stored', 'refused'].map((name) => parameter(done.body, name)),
        [4 * 240, 4 * 237, 4 * 3],
        JSON.stringify(done.body).slice(0, 1500),
    );
    for (const { sid } of people) assert.equal(await onLedger(sid), 235, 'each once');
    const told = await raw('clinic', 'GET', `/$import?job=${job}`, { token: await clerk.token() });
    assert.equal(parameter(told.body, 'stored'), 4 * 237);
});
