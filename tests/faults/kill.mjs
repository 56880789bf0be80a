// Kills one node after the other with SIGKILL at random moments of a running load, starts it again,
// and at the end looks for every transaction that was ever acknowledged, at every peer.
//
// CONSILIUM    the program; NETWORK_DIR  a running network; ROUNDS  how often (default 24); SEED

import { execFileSync } from 'node:child_process';
import { randomInt, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { channelName, dir, gateway, network, signer } from '../node/lib/network.mjs';

const rounds = Number(process.env.ROUNDS ?? 24);
const seed = Number(process.env.SEED ?? randomInt(1 << 30));
const random = generator(seed);
const consilium = process.env.CONSILIUM;
const clients = 6;

console.log(`seed ${seed}, ${rounds} rounds`);
const nodes = network.organizations.flatMap(({ domain }) => ['orderer0', 'peer0', 'ca'].map((kind) => `${kind}.${domain}`));
const gateways = Object.fromEntries(network.organizations.map(({ name }) => [name, gateway(name)]));
const acknowledged = new Map();
let failures = 0;
let running = true;

const load = Array.from({ length: clients }, (_, number) => submit(number));
for (let round = 0; round < rounds; round += 1) {
    await pause(random() * 1200);
    const before = acknowledged.size;
    // Every node has its turn; who comes when is random.
    const order = round % nodes.length === 0 ? shuffle(nodes) : undefined;
    if (order) nodes.splice(0, nodes.length, ...order);
    const victim = nodes[round % nodes.length];
    const [pid] = readFileSync(path.join(dir, 'run', `${victim}.pid`), 'utf8').split(' ');
    process.kill(Number(pid), 'SIGKILL');
    await pause(random() * 1500);
    execFileSync(consilium, ['network', 'up', '--dir', dir], { stdio: ['ignore', 'ignore', 'pipe'] });
    await until(`the load to go on after ${victim} was killed`, () => acknowledged.size > before + clients);
    console.log(`round ${round + 1}: killed ${victim} (${pid}), ${acknowledged.size} acknowledged, ${failures} failed calls`);
}
running = false;
await Promise.all(load);

const heights = await until('all peers to reach one height', async () => {
    const states = await Promise.all(network.organizations.map(state));
    return states.every((entry) => entry.height === states[0].height) ? states : undefined;
});
let failed = 0;
for (const { name } of network.organizations) {
    const missing = [];
    for (const [id, signedCommit] of acknowledged) {
        const status = await gateways[name].raw.newSignedCommit(signedCommit.bytes, signedCommit.signature).getStatus();
        if (!status.successful) missing.push(`${id} ${status.code}`);
    }
    if (missing.length > 0) {
        failed += 1;
        console.log(`${name} lacks ${missing.length} of ${acknowledged.size}: ${missing.slice(0, 5)}`);
    } else {
        console.log(`${name}: all ${acknowledged.size} acknowledged transactions are there`);
    }
}
if (new Set(heights.map((entry) => entry.fingerprint)).size !== 1) {
    failed += 1;
    console.log('the peers differ', heights);
} else {
    console.log(`height ${heights[0].height}, state ${heights[0].fingerprint.slice(0, 16)} at every peer`);
}
Object.values(gateways).forEach((entry) => entry.close());
console.log(`${network.organizations.length + 1 - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

// Submits without pause until told to stop. A transaction counts as acknowledged as soon as the
// orderers took it, whether or not the peer lives to report its commit.
async function submit(number) {
    const names = Object.keys(gateways);
    for (let count = 0; running; count += 1) {
        const via = gateways[names[(number + count) % names.length]];
        try {
            const contract = via.getNetwork(channelName).getContract('kv');
            const proposal = contract.newProposal('put', { arguments: [`fault-${randomUUID()}`, String(count)] });
            const transaction = await proposal.endorse({ deadline: Date.now() + 5000 });
            const commit = await transaction.submit({ deadline: Date.now() + 5000 });
            const signed = await sign(via, commit);
            acknowledged.set(transaction.getTransactionId(), signed);
            const status = await commit.getStatus({ deadline: Date.now() + 5000 });
            if (!status.successful) throw new Error(`invalid: ${status.code}`);
        } catch (error) {
            if (String(error.message).startsWith('invalid')) throw error;
            failures += 1;
            await pause(50);
        }
    }
}

// A commit status request that any peer answers later.
async function sign(via, commit) {
    const bytes = commit.getBytes();
    const name = Object.keys(gateways).find((entry) => gateways[entry] === via);
    return { bytes, signature: await signer(name, 'User1')(commit.getDigest()) };
}

async function state({ ports }) {
    const response = await fetch(`http://127.0.0.1:${ports.peer_operations}/channels/${channelName}/state`);
    return response.json();
}

async function until(what, probe) {
    for (let attempt = 0; attempt < 1200; attempt += 1) {
        const result = await probe();
        if (result) return result;
        await pause(50);
    }
    throw new Error(`waited a minute in vain for ${what}`);
}

function pause(milliseconds) {
    return new Promise((resolve) => { setTimeout(resolve, milliseconds); });
}

function shuffle(list) {
    const copy = [...list];
    for (let index = copy.length - 1; index > 0; index -= 1) {
        const other = Math.floor(random() * (index + 1));
        [copy[index], copy[other]] = [copy[other], copy[index]];
    }
    return copy;
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
