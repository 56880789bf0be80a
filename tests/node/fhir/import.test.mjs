// A thousand patients by one command, which is killed in the middle again and again and goes on where its
// last transaction ended. They are generated here from a counter; nobody of them exists.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { dir, network } from '../lib/network.mjs';
import { kit } from './lib/clients.mjs';
import { person } from './lib/people.mjs';

const PATIENTS = 1000;
const SYSTEM = 'urn:example:generated';
const run = `import-${Date.now()}`;
const number = (index) => `${run}-${index}`;

let folder;
before(() => { folder = mkdtempSync(path.join(tmpdir(), 'import-')); });
after(() => rmSync(folder, { recursive: true, force: true }));

const lines = (one) => `${Array.from({ length: PATIENTS }, (_, index) => JSON.stringify(one(index))).join('\n')}\n`;

function files() {
    const meta = { tag: [{ system: SYSTEM, code: 'generated' }] };
    const patients = path.join(folder, 'Patient.ndjson');
    writeFileSync(patients, lines((index) => ({
        resourceType: 'Patient', id: `p${index}`, meta, identifier: [{ system: SYSTEM, value: number(index) }],
    })));
    const observations = path.join(folder, 'Observation.ndjson');
    writeFileSync(observations, lines((index) => ({
        resourceType: 'Observation', id: `o${index}`, meta, status: 'final', subject: { reference: `Patient/p${index}` },
        code: { coding: [{ system: 'http://loinc.org', code: '8867-4' }] },
        valueQuantity: { value: 60 + (index % 40), unit: '/min' },
    })));
    return [patients, observations];
}

// Runs the command, for a while if `milliseconds` are given; gives its exit code and output.
async function gatewayImport(user, sources, milliseconds) {
    const { domain } = network.organizations.find(({ name }) => name === 'hospital');
    const config = path.join(dir, 'organizations', domain, 'gateways', `gateway0.${domain}`, 'gateway.yaml');
    const command = spawn(
        process.env.CONSILIUM,
        ['gateway', 'import', '--config', config, '--as', user, '--job', run, '--batch', '100', ...sources],
        { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let output = '';
    command.stdout.on('data', (text) => { output += text; });
    command.stderr.on('data', (text) => { output += text; });
    const timer = milliseconds && setTimeout(() => command.kill('SIGKILL'), milliseconds);
    const [code] = await once(command, 'close');
    clearTimeout(timer);
    return { code, output };
}

test('a thousand patients survive kill -9', { timeout: 240_000 }, async () => {
    const clerk = await person('hospital', 'records');
    const sources = files();
    let killed = 0;
    for (const milliseconds of [300, 700, 1100, 1500]) {
        const { code } = await gatewayImport(clerk.name, sources, milliseconds);
        killed += Number(code === null);
    }
    assert.ok(killed > 0, 'at least once it was killed before its end');
    const { code, output } = await gatewayImport(clerk.name, sources);
    assert.equal(code, 0, output);
    assert.match(output, new RegExp(`${2 * PATIENTS} resources are on the ledger, 0 of ${2 * PATIENTS} lines were refused`));

    // Each of them once, with what is theirs.
    const client = await kit(await person('hospital', 'physician'), { purpose: 'TREAT' });
    for (const index of [0, 99, 100, 499, 998, 999]) {
        const identifier = `${SYSTEM}|${number(index)}`;
        const found = await client.search({ resourceType: 'Patient', searchParams: { identifier } });
        assert.equal(found.total, 1, identifier);
        const patient = found.entry[0].resource.id;
        const theirs = await client.search({ resourceType: 'Observation', searchParams: { patient } });
        assert.equal(theirs.total, 1, identifier);
        assert.equal(theirs.entry[0].resource.subject.reference, `Patient/${patient}`);
    }

    // Run once more, it has nothing to do.
    const again = await gatewayImport(clerk.name, sources);
    assert.equal(again.code, 0, again.output);
    assert.match(again.output, new RegExp(`^${2 * PATIENTS} resources`, 'm'));
});
