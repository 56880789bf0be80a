// A JavaScript contract on npm fabric-shim and fabric-contract-api, unmodified, run as a service
// that the peers dial.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { StatusCode } from '@hyperledger/fabric-gateway';
import { channelName, dir, gateway, text } from './lib/network.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const consilium = process.env.CONSILIUM;
const name = `notes-${randomUUID().slice(0, 8)}`;

let port;
let packageId;
let service;
let hospital;
let contract;

before(async () => {
    port = await freePort();
    const printed = execFileSync(consilium, [
        'network', 'deploy', '--dir', dir, '--service', `localhost:${port}`,
        '--metadata', path.join(here, 'contract', 'META-INF'),
        '--policy', "AND('HospitalMSP.peer','MakerMSP.peer')", name,
    ], { encoding: 'utf8' });
    packageId = printed.match(/package id: (\S+)/)[1];
    service = await start();
    hospital = gateway('hospital');
    contract = hospital.getNetwork(channelName).getContract(name);
    await ready();
});

after(async () => {
    hospital?.close();
    await stop(service);
});

test('a note is put, read, and its event names the contract', async () => {
    const id = `n-${randomUUID()}`;
    const commit = await contract.submitAsync('Put', { arguments: [id, 'hello'] });
    assert.equal(text(commit.getResult()), 'HospitalMSP');
    const status = await commit.getStatus();
    assert.equal(status.code, StatusCode.VALID);
    assert.equal(text(await contract.evaluateTransaction('Get', id)), 'hello');
    const events = await hospital.getNetwork(channelName).getChaincodeEvents(name, { startBlock: status.blockNumber });
    for await (const event of events) {
        assert.equal(event.eventName, 'NotePut');
        assert.equal(text(event.payload), id);
        break;
    }
    events.close();
});

test('ranges over several batches, pages with bookmarks, and composite keys', async () => {
    const prefix = `r${randomUUID().slice(0, 8)}-`;
    await contract.submitTransaction('PutMany', prefix, '250');
    assert.equal(text(await contract.evaluateTransaction('CountRange', prefix, `${prefix}~`)), '250');
    const first = JSON.parse(text(await contract.evaluateTransaction('Page', prefix, `${prefix}~`, '100', '')));
    assert.equal(first.keys.length, 100);
    assert.equal(first.bookmark, `${prefix}0100`);
    const third = JSON.parse(text(await contract.evaluateTransaction('Page', prefix, `${prefix}~`, '100', `${prefix}0200`)));
    assert.equal(third.keys.length, 50);
    assert.equal(third.bookmark, '');
    const tag = `t${randomUUID()}`;
    await contract.submitTransaction('Tag', tag, 'one');
    await contract.submitTransaction('Tag', tag, 'two');
    assert.deepEqual(JSON.parse(text(await contract.evaluateTransaction('Tagged', tag))), ['one', 'two']);
});

test('a range that is submitted is validated, and history is newest first', async () => {
    const id = `h-${randomUUID()}`;
    await contract.submitTransaction('Put', id, 'one');
    await contract.submitTransaction('Put', id, 'two');
    await contract.submitTransaction('Delete', id);
    const changes = JSON.parse(text(await contract.evaluateTransaction('History', id)));
    assert.deepEqual(changes.map((change) => change.value), ['', 'two', 'one']);
    assert.equal(changes[0].deleted, true);
    assert.equal(new Set(changes.map((change) => change.txId)).size, 3);
    const now = Date.now() / 1000;
    assert.ok(changes.every(({ seconds }) => Math.abs(now - seconds) < 600), JSON.stringify(changes));
    const prefix = `p${randomUUID().slice(0, 8)}-`;
    await contract.submitTransaction('PutMany', prefix, '60');
    assert.equal(text(await contract.submitTransaction('CountRange', prefix, `${prefix}~`)), '60');
});

test('queries select, sort by a declared index, project, page with bookmarks and fail as in Fabric', async () => {
    const docType = `marble-${randomUUID().slice(0, 8)}`;
    const marbles = Array.from({ length: 25 }, (_, number) => ({
        id: `${docType}-${String(number).padStart(2, '0')}`,
        docType, size: number % 10, owner: number % 2 ? 'tom' : 'jerry', tags: ['round', `t${number}`],
    }));
    await contract.submitTransaction('PutMarbles', JSON.stringify(marbles));
    const query = async (body) => JSON.parse(text(await contract.evaluateTransaction('Query', JSON.stringify(body))));
    const keys = async (body) => (await query(body)).map(({ key }) => key);
    const ids = (test) => marbles.filter(test).map(({ id }) => id);

    const ofTom = { selector: { docType, owner: 'tom' }, use_index: ['_design/indexOwnerDoc', 'indexOwner'] };
    assert.deepEqual(await keys(ofTom), ids(({ owner }) => owner === 'tom'));
    const first = marbles[3];
    const { id, ...document } = first;
    assert.deepEqual(await query({ selector: { docType, tags: { $elemMatch: { $eq: 't3' } } } }), [{ key: id, value: document }]);
    assert.deepEqual(
        await query({ selector: { docType, tags: { $all: ['t3'] } }, fields: ['owner', 'size'] }),
        [{ key: id, value: { owner: 'tom', size: 3 } }],
    );
    // In the order of an index, if one serves.
    const ends = await keys({ selector: { docType, $or: [{ size: { $gt: 8 } }, { size: { $lt: 1 } }] } });
    assert.deepEqual(ends.sort(), ids(({ size }) => size > 8 || size < 1));
    // A result that is submitted is read, and validates.
    const submitted = await contract.submitTransaction('Query', JSON.stringify(ofTom));
    assert.equal(JSON.parse(text(submitted)).length, 12);

    // The index is built once the definition is committed, beside everything else.
    const bySize = JSON.stringify({ selector: { docType, size: { $gte: 0 } }, sort: [{ size: 'desc' }, { docType: 'desc' }] });
    const sorted = await eventually(() => query(JSON.parse(bySize)));
    assert.deepEqual(sorted.map(({ value }) => value.size), marbles.map(({ size }) => size).sort((a, b) => b - a));
    const paged = [];
    let bookmark = '';
    for (const expected of [10, 10, 5, 0]) {
        const page = JSON.parse(text(await contract.evaluateTransaction('QueryPage', bySize, '10', bookmark)));
        assert.equal(page.fetched, expected);
        assert.equal(page.keys.length, expected);
        assert.notEqual(page.bookmark, '');
        paged.push(...page.keys);
        bookmark = page.bookmark;
    }
    assert.deepEqual(paged, sorted.map(({ key }) => key));

    const refused = (body, reason) => assert.rejects(contract.evaluateTransaction('Query', body), reason);
    await refused(
        JSON.stringify({ selector: { docType }, sort: ['color'] }),
        /GET_QUERY_RESULT failed: transaction ID: [0-9a-f]{64}: error handling CouchDB request\. Error:no_usable_index, {2}Status Code:400, {2}Reason:No index exists for this sort, try indexing by the sort fields\./,
    );
    await refused(JSON.stringify({ selector: { size: { $nearly: 3 } } }), /Error:invalid_operator, .*Reason:Invalid operator: \$nearly/);
    await refused('nothing', /invalid character 'n'|expected ident/);
    await assert.rejects(contract.submitTransaction('QueryPageAndPut', bySize), (error) => {
        assert.match(JSON.stringify(error.details), /Transaction has already performed a paginated query\. Writes are not allowed/);
        return true;
    });
});

test('private data is queried where it is', async () => {
    const collection = '_implicit_org_HospitalMSP';
    const id = `private-${randomUUID()}`;
    await contract.submit('PutPrivateMarble', {
        arguments: [collection, id],
        transientData: { marble: Buffer.from(JSON.stringify({ secret: id })) },
        endorsingOrganizations: ['HospitalMSP'],
    });
    const found = await contract.evaluateTransaction('QueryPrivate', collection, JSON.stringify({ selector: { secret: id } }));
    assert.deepEqual(JSON.parse(text(found)), [id]);
});

test('transient data and other contracts are reached', async () => {
    assert.equal(text(await contract.evaluate('Secret', { transientData: { secret: Buffer.from('hush') } })), '4');
    const key = `c-${randomUUID()}`;
    await hospital.getNetwork(channelName).getContract('kv').submitTransaction('put', key, 'from kv');
    assert.equal(text(await contract.evaluateTransaction('Ask', 'kv', 'get', key)), '200 from kv');
});

test('an error of the contract reaches the application with its message', async () => {
    await assert.rejects(contract.evaluateTransaction('Get', 'missing'), /no note missing/);
    await assert.rejects(contract.submitTransaction('Get', 'missing'), (error) => {
        assert.match(JSON.stringify(error.details), /no note missing/);
        return true;
    });
});

test('a service that was restarted is dialled again', async () => {
    await stop(service);
    await assert.rejects(contract.evaluateTransaction('Get', 'x'));
    service = await start();
    const id = `again-${randomUUID()}`;
    await ready();
    await contract.submitTransaction('Put', id, 'back');
    assert.equal(text(await contract.evaluateTransaction('Get', id)), 'back');
});

// Until every peer has connected to the service.
async function ready() {
    for (let attempt = 0; ; attempt += 1) {
        try {
            await contract.submitTransaction('Put', 'ready', 'yes');
            return;
        } catch (error) {
            if (attempt === 60) throw error;
            await pause(250);
        }
    }
}

// What work gives once it stops failing.
async function eventually(work) {
    for (let attempt = 0; ; attempt += 1) {
        try {
            return await work();
        } catch (error) {
            if (attempt === 60) throw error;
            await pause(250);
        }
    }
}

async function start() {
    const child = spawn(path.join(here, 'node_modules', '.bin', 'fabric-chaincode-node'), [
        'server', `--chaincode-address=127.0.0.1:${port}`, `--chaincode-id=${packageId}`,
    ], { cwd: path.join(here, 'contract'), stdio: ['ignore', 'ignore', 'inherit'] });
    child.gone = new Promise((resolve) => { child.on('exit', resolve); });
    return child;
}

async function stop(child) {
    if (!child) return;
    child.kill('SIGKILL');
    await child.gone;
}

function pause(milliseconds) {
    return new Promise((resolve) => { setTimeout(resolve, milliseconds); });
}

function freePort() {
    return new Promise((resolve, reject) => {
        const server = createServer();
        server.on('error', reject);
        server.listen(0, '127.0.0.1', () => {
            const { port: free } = server.address();
            server.close(() => resolve(free));
        });
    });
}
