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

test('what is committed is started at every peer, before anybody calls it', async () => {
    for (const { packageId } of [go, js]) {
        await eventually(() => assert.equal(processes(packageId).length, network.organizations.length));
    }
    await go.ready();
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

test('another package takes the place of the first, whose processes end', async () => {
    const next = new Launched('go', 'everything', go.name, golang(
        contracts, 'everything', `next_${run}`, path.join(languages, 'META-INF'),
    ));
    const collections = ['--collections', path.join(languages, 'collections.json')];
    await next.deploy([...collections, '--upgrade', '--version', '2.0']);
    try {
        assert.notEqual(next.packageId, go.packageId);
        await eventually(async () => assert.equal(await next.evaluate('get', 'kept'), 'it is'));
        await eventually(() => assert.equal(processes(next.packageId).length, network.organizations.length));
        // Calls that were under way have had the time that a call may take.
        await eventually(() => assert.deepEqual(processes(go.packageId), []), 400);
    } finally {
        await next.close();
    }
});

test('a consortium may be described by connection profiles', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'profiles-'));
    try {
        const profiles = network.organizations.flatMap((member) => {
            const file = path.join(folder, `${member.name}.json`);
            writeFileSync(file, JSON.stringify(profile(member)));
            return ['--profile', file];
        });
        const deploy = (...options) => consilium(
            'contract', 'deploy', ...options, '--contract', 'kv', '--policy', "OR('HospitalMSP.peer')", `profiled-${run}`,
        );
        await assert.rejects(deploy(...profiles), /--channel/);
        // What one organization has approved by itself it does not approve again.
        await assert.rejects(deploy(...profiles.slice(0, 2), '--channel', network.channel), /cannot commit the definition/);
        assert.match(await deploy(...profiles, '--channel', network.channel), /is defined on channel health, sequence 1/);
        await consilium('invoke', '--network', dir, `profiled-${run}`, 'put', 'a', '1');
        await assert.rejects(deploy(...profiles, '--channel', 'nowhere'));
    } finally {
        rmSync(folder, { recursive: true });
    }
});

// As Fabric's SDKs have it.
function profile({ name, msp_id: mspid, domain, ports }) {
    const admin = path.join(dir, 'organizations', domain, 'users', `Admin@${domain}`);
    const only = (part) => ({ path: path.join(admin, 'msp', part, readdirSync(path.join(admin, 'msp', part))[0]) });
    return {
        name: `${name}-profile`,
        version: '1.0.0',
        client: {
            organization: name,
            tlsCerts: { client: { key: { path: path.join(admin, 'tls', 'client.key') }, cert: { path: path.join(admin, 'tls', 'client.crt') } } },
        },
        organizations: { [name]: { mspid, peers: [`peer0.${domain}`], adminPrivateKey: only('keystore'), signedCert: only('signcerts') } },
        peers: {
            [`peer0.${domain}`]: {
                url: `grpcs://localhost:${ports.peer}`,
                tlsCACerts: { pem: readFileSync(path.join(admin, 'tls', 'ca.crt'), 'utf8') },
                grpcOptions: { 'ssl-target-name-override': 'localhost' },
            },
        },
    };
}

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
