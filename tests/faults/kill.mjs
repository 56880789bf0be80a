// Kills one node after the other with SIGKILL at random moments of a running load and starts it
// again. At the end it looks for every transaction that was ever acknowledged at every peer, and
// compares the chains of all orderers and peers and the states of all peers.
//
// CONSILIUM    the program
// NETWORK_DIR  a running network
// ROUNDS       how often to kill (default 24)
// KINDS        of nodes to kill (default orderer0,peer0,ca)
// SEED         of the order and the moments

import { execFile } from 'node:child_process';
import { randomInt, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { newestHeader } from '../node/lib/blocks.mjs';
import { channelName, dir, gateway, network, signer } from '../node/lib/network.mjs';

const rounds = Number(process.env.ROUNDS ?? 24);
const seed = Number(process.env.SEED ?? randomInt(1 << 30));
const random = generator(seed);
const consilium = process.env.CONSILIUM;
if (!consilium) throw new Error('set CONSILIUM to the consilium program');
const kinds = (process.env.KINDS ?? 'orderer0,peer0,ca').split(',');
const clients = 6;

console.log(`seed ${seed}, ${rounds} rounds`);
const organizations = network.organizations.map(({ name }) => name);
const nodes = network.organizations.flatMap(({ domain }) => kinds.map((kind) => `${kind}.${domain}`));
const gateways = Object.fromEntries(organizations.map((name) => [name, gateway(name)]));
// Transaction id to a signed commit status request, and who signed it.
const acknowledged = new Map();
let invalid = 0;
let failures = 0;
let running = true;
let passed = 0;
let failed = 0;

try {
    const load = Array.from({ length: clients }, (_, number) => submit(number));
    await check(`${rounds} kills, and the load went on after each`, () => killAll());
    running = false;
    await Promise.all(load);
    await check('the chains of all orderers and peers are equal', equalChains);
    await check('the states of all peers are equal', equalStates);
    for (const name of organizations) {
        await check(`every acknowledged transaction is valid at ${name}`, () => lookUp(name));
    }
} finally {
    Object.values(gateways).forEach((entry) => entry.close());
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

async function check(what, work) {
    try {
        console.log(`ok: ${what}: ${await work()}`);
        passed += 1;
    } catch (error) {
        console.log(`FAILED: ${what}: ${error.message}`);
        failed += 1;
    }
}

async function killAll() {
    for (let round = 0; round < rounds; round += 1) {
        await pause(random() * 1200);
        // Every node has its turn; who comes when is random.
        if (round % nodes.length === 0) shuffle(nodes);
        const victim = nodes[round % nodes.length];
        const pid = Number(readFileSync(path.join(dir, 'run', `${victim}.pid`), 'utf8').split(' ')[0]);
        process.kill(pid, 'SIGKILL');
        await until(`${victim} to be gone`, () => isGone(pid));
        await pause(random() * 1500);
        await promisify(execFile)(consilium, ['network', 'up', '--dir', dir], { timeout: 120000 });
        const before = acknowledged.size;
        await until(`the load to go on after ${victim} was killed`, () => acknowledged.size > before + clients);
        console.log(`round ${round + 1}: killed ${victim} (${pid}), ${acknowledged.size} acknowledged, ${failures} failed calls`);
    }
    return `${acknowledged.size} transactions acknowledged`;
}

async function equalChains() {
    let newest;
    await until('all orderers and peers to have the same newest block', async () => {
        const chains = organizations.flatMap((name) => ['orderer', 'peer'].map((kind) => [name, kind]));
        newest = await Promise.all(chains.map(([name, kind]) => newestHeader(name, kind).catch((error) => error.message)));
        return newest.every((header) => header === newest[0]);
    }).catch((error) => {
        throw new Error(`${error.message}: ${JSON.stringify(newest, undefined, 1)}`);
    });
    return `block ${newest[0].slice(0, 24)}`;
}

async function equalStates() {
    const found = await Promise.all(network.organizations.map(async ({ ports }) => {
        const response = await fetch(`http://127.0.0.1:${ports.peer_operations}/channels/${channelName}/state`, {
            signal: AbortSignal.timeout(30000),
        });
        return response.json();
    }));
    if (new Set(found.map((state) => state.fingerprint)).size !== 1) throw new Error(JSON.stringify(found));
    return found[0].fingerprint.slice(0, 16);
}

// All peers have all blocks by now: what is there is answered at once.
async function lookUp(name) {
    if (invalid > 0) throw new Error(`${invalid} transactions were invalid`);
    const wrong = [];
    const all = [...acknowledged];
    // A new connection: one that met a killed peer pauses longer and longer before it dials again.
    const asked = gateway(name);
    try {
        for (let index = 0; index < all.length && wrong.length < 5; index += 64) {
            await Promise.all(all.slice(index, index + 64).map(async ([id, { bytes, signature }]) => {
                const commit = asked.raw.newSignedCommit(bytes, signature);
                const outcome = await commit.getStatus({ deadline: Date.now() + 30000 }).catch((error) => error);
                if (!outcome.successful) wrong.push(`${id} ${outcome.code} ${outcome.message ?? ''}`);
            }));
        }
    } finally {
        asked.close();
    }
    if (wrong.length > 0) throw new Error(`of ${all.length}, for example: ${wrong.slice(0, 5).join('; ')}`);
    return `${all.length} transactions`;
}

// Submits without pause until told to stop. A transaction counts as acknowledged as soon as the
// orderers took it, whether or not the peer lives to report its commit.
async function submit(number) {
    for (let count = 0; running; count += 1) {
        const name = organizations[(number + count) % organizations.length];
        const within = () => ({ deadline: Date.now() + 5000 });
        try {
            const contract = gateways[name].getNetwork(channelName).getContract('kv');
            const proposal = contract.newProposal('put', { arguments: [`fault-${randomUUID()}`, String(count)] });
            const transaction = await proposal.endorse(within());
            const commit = await transaction.submit(within());
            // Any peer answers this later.
            const signature = await signer(name, 'User1')(commit.getDigest());
            acknowledged.set(transaction.getTransactionId(), { bytes: commit.getBytes(), signature });
            const status = await commit.getStatus(within());
            if (!status.successful) {
                invalid += 1;
                console.log(`${transaction.getTransactionId()} is invalid: ${status.code}`);
            }
        } catch {
            failures += 1;
            await pause(50);
        }
    }
}

// Whether the process has ended; one that nobody has reaped yet has.
function isGone(pid) {
    try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) === 'Z';
    } catch {
        return true;
    }
}

async function until(what, probe) {
    for (let attempt = 0; attempt < 1200; attempt += 1) {
        if (await probe()) return;
        await pause(50);
    }
    throw new Error(`waited a minute in vain for ${what}`);
}

function pause(milliseconds) {
    return new Promise((resolve) => { setTimeout(resolve, milliseconds); });
}

function shuffle(list) {
    for (let index = list.length - 1; index > 0; index -= 1) {
        const other = Math.floor(random() * (index + 1));
        [list[index], list[other]] = [list[other], list[index]];
    }
}

// mulberry32: small and good enough to repeat a run by its seed.
function generator(start) {
    let value = start >>> 0;
    return () => {
        value = (value + 0x6d2b79f5) >>> 0;
        let mixed = Math.imul(value ^ (value >>> 15), value | 1);
        mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
        return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
}
