// An application of the maker: it writes, or listens for events or blocks, until SIGTERM, and prints
// a line for each transaction that is committed, each event, or each block.
// usage: node main.mjs write|events|blocks CONTRACT CHECKPOINT-FILE, with NETWORK_DIR set

import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { checkpointers, connect, hash } from '@hyperledger/fabric-gateway';
import { channelName, identity, network as members, signer, text, tlsHash, userDir } from '../lib/network.mjs';
import { listen, listenForBlocks } from './listen.mjs';
import { submit } from './submit.mjs';

const [part, contract, file] = process.argv.slice(2);
const own = 'maker';
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
const say = (...words) => process.stdout.write(`${words.join(' ')}\n`);

// Its own peer comes first.
const places = members.organizations.filter(({ has_orderer: founder }) => founder);
places.sort((one, other) => Number(other.name === own) - Number(one.name === own));
const roots = places.map(({ name }) => readFileSync(path.join(userDir(name, 'User1'), 'tls', 'ca.crt')));
const pair = ['client.key', 'client.crt'].map((name) => readFileSync(path.join(userDir(own, 'User1'), 'tls', name)));
const credentials = grpc.credentials.createSsl(Buffer.concat(roots), ...pair);
const soon = () => ({ deadline: Date.now() + 5000 });
const clients = places.map(({ ports }) => new grpc.Client(`localhost:${ports.peer}`, credentials));
const gateways = clients.map((client) => connect({
    client,
    identity: identity(own, 'User1'),
    signer: signer(own, 'User1'),
    hash: hash.sha256,
    tlsClientCertificateHash: tlsHash(own),
    endorseOptions: soon,
    submitOptions: soon,
    commitStatusOptions: soon,
}));
const network = gateways[0].getNetwork(channelName);

const parts = {
    async write() {
        for (let count = 0; !stop.signal.aborted; count += 1) {
            const payload = `node-${count}`;
            const status = await submit(gateways, channelName, contract, 'event', ['Happened', payload], Date.now() + 120000);
            if (!status.successful) throw new Error(`${status.transactionId} is ${status.code}`);
            say(status.transactionId, payload);
        }
    },
    async events() {
        const note = ({ blockNumber, transactionId, payload }) => say(blockNumber, transactionId, text(payload));
        await listen(network, contract, 0n, await checkpointers.file(file), note, stop.signal);
    },
    async blocks() {
        const note = (block) => {
            const header = block.getHeader();
            say(header.getNumber(), Buffer.from(header.getDataHash_asU8()).toString('hex'));
        };
        await listenForBlocks(network, await checkpointers.file(file), note, stop.signal);
    },
};
await parts[part]();
gateways.forEach((gateway) => gateway.close());
clients.forEach((client) => client.close());
