// Contracts on Fabric's Go and Node shims that the peers build and start by external builders: those
// in tests/builders, which serve Fabric's peers as well.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
    existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { dir, network } from '../lib/network.mjs';
import { contracts, consilium, eventually, refusal } from '../languages/services.mjs';
import { scenarios } from '../languages/scenarios.mjs';
import { Launched, golang, log, node, processes } from './launched.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.join(here, '..', '..', '..');
const languages = path.join(here, '..', 'languages');
const run = randomUUID().slice(0, 8);
const go = new Launched('go', 'everything', `go-${run}`, golang(
    contracts, 'everything', `everything_${run}`, path.join(languages, 'META-INF'),
));
const js = new Launched('node', 'notes', `node-${run}`, node(
    path.join(here, '..', 'contract'), path.join(contracts, 'node'), `notes_${run}`, path.join(here, '..', 'contract', 'META-INF'),
));

before(async () => {
    assert.match(
        await go.deploy(['--collections', path.join(languages, 'collections.json')]),
        new RegExp(`${go.name} is defined on channel \\w+, sequence 1\n`),
    );
    await js.deploy();
});

after(() => Promise.all([go.close(), js.close()]));

test('nothing runs before it is called, and then one process at each peer', async () => {
    assert.deepEqual(processes(go.packageId), []);
    await go.ready();
    assert.equal(processes(go.packageId).length, network.organizations.length);
});

for (const { what, run: play } of scenarios) {
    test(`go, built and run by the peer: ${what}`, () => play(go));
}

test('what a builder says, and what a chaincode says, is in the log of its peer', async () => {
    assert.match(log('hospital'), new RegExp(`building chaincode.*${go.packageId}`));
    await refusal(go.evaluate('crash', 'for the log'));
    // Go says on its standard error where a panic came from.
    await eventually(() => assert.match(log('hospital'), /panic: for the log/));
});

test('a process that has crashed or was killed is started again by the next call', async () => {
    await go.ready();
    assert.match(await refusal(go.evaluate('crash', 'on purpose')), /chaincode stream terminated/);
    const key = `after-${randomUUID()}`;
    await eventually(() => go.submit('put', key, 'fine'));
    for (const pid of processes(go.packageId)) process.kill(Number(pid), 'SIGKILL');
    await eventually(async () => assert.equal(await go.evaluate('get', key), 'fine'));
    await go.ready();
    await eventually(() => assert.equal(processes(go.packageId).length, network.organizations.length));
});

test('a Node contract is started by fabric-chaincode-node', async () => {
    const id = `n-${randomUUID()}`;
    assert.equal(await js.submit('Put', id, 'hello'), 'HospitalMSP');
    assert.equal(await js.evaluate('Get', id), 'hello');
    assert.match(await refusal(js.evaluate('Get', 'nothing')), /no note nothing/);
    const prefix = `r${randomUUID().slice(0, 8)}-`;
    await js.submit('PutMany', prefix, '250');
    assert.equal(await js.evaluate('CountRange', prefix, `${prefix}~`), '250');
});

test('a peer that comes back runs what it had built, and nothing outlives a peer', async () => {
    await go.submit('put', 'kept', 'it is');
    const built = () => network.organizations.flatMap(({ domain }) => {
        const builds = path.join(dir, 'organizations', domain, 'peers', `peer0.${domain}`, 'data', 'externalbuilder', 'builds');
        return readdirSync(builds).map((name) => path.join(builds, name));
    });
    const before = built();
    assert.ok(before.every((folder) => existsSync(path.join(folder, 'build-info.json'))), before.join(' '));
    const builds = (org) => log(org).split('building chaincode').length;
    const counted = builds('hospital');
    await consilium('network', 'down', '--dir', dir);
    assert.deepEqual([...processes(go.packageId), ...processes(js.packageId)], []);
    await go.close();
    go.gateways.clear();
    await consilium('network', 'up', '--dir', dir);
    await eventually(async () => assert.equal(await go.evaluate('get', 'kept'), 'it is'));
    assert.deepEqual(built(), before);
    assert.equal(builds('hospital'), counted);
});

test('the commands of docs/contracts.md package, deploy and call a contract', () => {
    const docs = readFileSync(path.join(root, 'docs', 'contracts.md'), 'utf8');
    const [, block] = docs.match(/```console\n\$ consilium network up --builder([^`]*)```/);
    const [, ...commands] = block.split('\n').filter(Boolean).map((line) => line.replace(/^\$ /, ''));
    assert.equal(commands.length, 6);
    const folder = mkdtempSync(path.join(tmpdir(), 'docs-'));
    try {
        symlinkSync(process.env.CONSILIUM, path.join(folder, 'consilium'));
        const env = { ...process.env, CONSILIUM_NETWORK: dir, PATH: `${folder}:${process.env.PATH}` };
        const script = commands.join('\n').replace('tests/contracts', path.join(root, 'tests', 'contracts'));
        const printed = execFileSync('sh', ['-ec', script], { cwd: folder, env, encoding: 'utf8' });
        assert.match(printed, /notes is defined on channel health, sequence 1[\s\S]*milk\n$/);
    } finally {
        rmSync(folder, { recursive: true });
    }
});

test('a package that cannot be built is refused with what the compiler said', async () => {
    const broken = new Launched('go', 'notes', `broken-${run}`, golang(contracts, 'notes', `broken_${run}`, undefined, (src) => {
        writeFileSync(path.join(src, 'notes', 'broken.go'), 'package main\n\nfunc broken() { undefinedName() }\n');
    }));
    await assert.rejects(broken.deploy(), /cannot install at localhost:\d+[\s\S]*undefined: undefinedName/);
});
