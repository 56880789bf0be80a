// Contracts that do what no contract should. Each harms its own transaction, at worst its own service,
// and neither the peers nor anybody else.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, beforeEach, test } from 'node:test';
import path from 'node:path';
import { dir, organization } from '../lib/network.mjs';
import { Deployed, eventually, refusal } from './services.mjs';
import { Type, completed, message, serve } from './raw.mjs';

const run = randomUUID().slice(0, 8);
const wrongdoer = new Deployed('go', 'everything', `wrong-${run}`);
const neighbour = new Deployed('go', 'everything', `neighbour-${run}`);
const rude = new Deployed('go', 'raw', `rude-${run}`);
const pids = ['hospital', 'maker', 'regulator'].map((org) => {
    const file = path.join(dir, 'run', `peer0.${organization(org).domain}.pid`);
    return readFileSync(file, 'utf8').split(' ')[0];
});
const hundredMegabytes = 100 * 1024 * 1024;
let server;

before(async () => {
    for (const contract of [wrongdoer, neighbour, rude]) await contract.deploy();
    await neighbour.start();
    await neighbour.ready();
    server = await serve(rude.port, rude.packageId, behave);
    await eventually(() => rude.evaluate('fine'));
});

// What a test did to the service is that test's alone.
beforeEach(restart);

async function restart() {
    await wrongdoer.stop();
    await wrongdoer.start();
    await wrongdoer.ready();
}

after(async () => {
    server.forceShutdown();
    for (const contract of [wrongdoer, neighbour, rude]) await contract.close();
    // The same processes as at the beginning.
    assert.deepEqual(pids.filter((pid) => !alive(pid)), []);
});

const alive = (pid) => {
    try {
        process.kill(Number(pid), 0);
        return true;
    } catch {
        return false;
    }
};

// How much more memory the hospital's peer had, in MiB, at most while `work` went on.
async function growth(work) {
    const status = `/proc/${pids[0]}/status`;
    // Begins the record of the most memory anew.
    writeFileSync(`/proc/${pids[0]}/clear_refs`, '5');
    const most = () => Number(readFileSync(status, 'utf8').match(/VmHWM:\s+(\d+) kB/)[1]) / 1024;
    const before = most();
    await work();
    return most() - before;
}

// Others go on: transactions of the contract next door, and of the same one.
async function unharmed(...contracts) {
    for (const contract of contracts) {
        const key = `after-${randomUUID()}`;
        await eventually(() => contract.submit('put', key, 'fine'));
        assert.equal(await contract.evaluate('get', key), 'fine');
    }
}

test('an endless loop ends with the execution timeout, and others go on meanwhile', async () => {
    // A machine that is busy with other things may take longer than the timeout for the others.
    for (let attempt = 1, meanwhile = false; !meanwhile; attempt += 1) {
        assert.ok(attempt <= 5, 'others never went on before the loop was over');
        let over = false;
        const looping = refusal(wrongdoer.evaluate('loop')).finally(() => { over = true; });
        await unharmed(neighbour, wrongdoer);
        meanwhile = !over;
        assert.match(await looping, /timeout expired while executing transaction/);
        // The loop itself goes on in the service.
        await restart();
    }
});

test('a process that runs out of memory fails its call, and is dialled again', async () => {
    await wrongdoer.stop();
    // Kibibytes of data.
    await wrongdoer.start({ wrap: ([program]) => ['sh', '-c', 'ulimit -d 400000; exec "$0"', program] });
    await wrongdoer.ready();
    const gone = wrongdoer.service.gone;
    assert.match(await refusal(wrongdoer.evaluate('allocate')), /chaincode stream terminated/);
    assert.match(await gone, /out of memory|cannot allocate memory/);
    await unharmed(neighbour);
    await wrongdoer.start();
    await wrongdoer.ready();
    await unharmed(wrongdoer);
});

test('a stream that is closed in the middle of a transaction fails it', async () => {
    const key = `half-${randomUUID()}`;
    assert.match(await refusal(wrongdoer.submit('exit', key)), /chaincode stream terminated/);
    await wrongdoer.service.gone;
    await unharmed(neighbour);
    await wrongdoer.start();
    await wrongdoer.ready();
    assert.match(await refusal(wrongdoer.evaluate('get', key)), /no such key/);
    await unharmed(wrongdoer);
});

test('100 MB of small values are refused, and cost the peer a bounded amount of memory', async () => {
    const grown = await growth(async () => {
        const said = await refusal(wrongdoer.submit('flood', `flood-${run}-`, '110', '1000000'));
        assert.match(said, /PUT_STATE failed: transaction ID: [0-9a-f]{64}: the transaction writes more than 104857600 bytes/);
    });
    assert.ok(grown < 512, `${grown} MiB`);
    assert.deepEqual(await wrongdoer.json('range', `flood-${run}-`, `flood-${run}-~`), []);
    await unharmed(neighbour, wrongdoer);
});

test('one value of 100 MB is refused, and costs the peer a bounded amount of memory', async () => {
    const grown = await growth(async () => {
        const said = await refusal(wrongdoer.submit('large', `large-${run}`, String(hundredMegabytes)));
        // The message around it is longer than any that the peer takes.
        assert.match(said, /chaincode stream terminated/);
    });
    assert.ok(grown < 512, `${grown} MiB`);
    await unharmed(neighbour, wrongdoer);
});

// What the raw service does, by the function that is called.
function behave(name, call, stream) {
    const say = (type, more = {}) => stream.write(message(type, { ...call, ...more }));
    switch (name) {
        case 'undecodable':
            stream.write(Buffer.from('\xff\xff\xff\xff\xff nonsense', 'latin1'));
            break;
        case 'unknown-type':
            stream.write(Buffer.from([0x08, 0xe7, 0x07]));
            break;
        case 'unexpected-type':
            say(Type.REGISTERED);
            break;
        case 'bad-request':
            say(Type.GET_STATE, { payload: Buffer.from('\xff\xff', 'latin1') });
            stream.write(completed(call));
            break;
        case 'bad-response':
            say(Type.COMPLETED, { payload: Buffer.from('\xff\xff', 'latin1') });
            break;
        case 'other-transaction':
            for (const type of [Type.COMPLETED, Type.PUT_STATE, Type.GET_STATE, Type.INVOKE_CHAINCODE]) {
                say(type, { txid: 'f'.repeat(64) });
                say(type, { channel: 'elsewhere' });
            }
            stream.write(completed(call));
            break;
        case 'oversize':
            say(Type.PUT_STATE, { payload: Buffer.alloc(hundredMegabytes + 1) });
            break;
        case 'chatter':
            // Requests of no transaction, faster than the refusals are read.
            for (let number = 0; number < 2000; number += 1) say(Type.GET_STATE, { txid: `none-${number}` });
            stream.write(completed(call));
            break;
        case 'twice':
            // Two requests at a time; the second is dropped, as in Fabric.
            say(Type.GET_HISTORY_FOR_KEY, { payload: Buffer.from('\n\x01k') });
            say(Type.GET_HISTORY_FOR_KEY, { payload: Buffer.from('\n\x01k') });
            setTimeout(() => stream.write(completed(call)), 200);
            break;
        case 'final-words':
            for (let number = 0; number < 3; number += 1) stream.write(completed(call, String(number)));
            break;
        case 'end':
            stream.end();
            break;
        case 'silent':
            break;
        default:
            stream.write(completed(call));
    }
}

for (const [name, said] of [
    ['undecodable', /chaincode stream terminated/],
    ['unknown-type', /chaincode stream terminated/],
    ['unexpected-type', /chaincode stream terminated/],
    ['oversize', /chaincode stream terminated/],
    ['end', /chaincode stream terminated/],
    ['bad-response', /failed to unmarshal response for transaction [0-9a-f]{64}/],
    ['silent', /timeout expired while executing transaction/],
]) {
    test(`garbage: ${name} fails its transaction`, async () => {
        assert.match(await refusal(rude.evaluate(name)), said);
        await unharmed(neighbour);
        assert.equal(await eventually(() => rude.evaluate('fine')), 'fine');
    });
}

for (const [name, answer] of [
    ['bad-request', 'fine'], ['other-transaction', 'fine'], ['chatter', 'fine'], ['twice', 'fine'], ['final-words', '0'],
]) {
    test(`garbage: ${name} changes nothing`, async () => {
        const grown = await growth(async () => assert.equal(await rude.evaluate(name), answer));
        assert.ok(grown < 100, `${grown} MiB`);
        await unharmed(neighbour);
        assert.equal(await rude.evaluate('fine'), 'fine');
    });
}

test('a service that registers as another chaincode is refused', async () => {
    const impostor = new Deployed('go', 'raw', `impostor-${run}`);
    await impostor.deploy();
    const serving = await serve(impostor.port, neighbour.packageId, behave);
    try {
        assert.match(
            await refusal(impostor.evaluate('fine')),
            new RegExp(`chaincode registration failed: peer will not accept external chaincode connection ${neighbour.packageId}`),
        );
        await unharmed(neighbour);
    } finally {
        serving.forceShutdown();
        await impostor.close();
    }
});
