// What everybody sees of a story: the events of its contract, and the blocks.

import assert from 'node:assert/strict';
import { common } from '@hyperledger/fabric-protos';
import { channelName, gateway, text } from '../../lib/network.mjs';
import { committed } from './actors.mjs';
import { Scanner } from './scan.mjs';

const PATIENCE = 30_000;

// Runs `work` on a stream that ends by itself after a while.
async function reading(stream, work) {
    const timer = setTimeout(() => stream.close(), PATIENCE);
    try {
        return await work(stream);
    } finally {
        clearTimeout(timer);
        stream.close();
    }
}

// The events of this process's transactions of a contract, `{name, id, state, org, ref}` in the order of
// the blocks: one for each, named after the contract.
export async function eventsOf(contract) {
    const mine = committed.filter((transaction) => transaction.contract === contract);
    const waiting = new Set(mine.map(({ transactionId }) => transactionId));
    const startBlock = mine.map(({ blockNumber }) => blockNumber).reduce((a, b) => (a < b ? a : b));
    const observer = gateway('regulator');
    try {
        const events = await observer.getNetwork(channelName).getChaincodeEvents(contract, { startBlock });
        const told = await reading(events, async (stream) => {
            const found = [];
            for await (const event of stream) {
                if (!waiting.delete(event.transactionId)) continue;
                const { id, state, org, ref, ...more } = JSON.parse(text(event.payload));
                assert.deepEqual(more, {}, 'an event has id, state, org and ref');
                const [prefix, name] = event.eventName.split('.');
                assert.equal(prefix, contract);
                found.push({ name, id, state, org, ref });
                if (waiting.size === 0) break;
            }
            return found;
        });
        const missing = mine.filter(({ transactionId }) => waiting.has(transactionId)).map(({ name }) => name);
        assert.deepEqual(missing, [], 'without an event');
        return told;
    } finally {
        observer.close();
    }
}

// Reads every block of the channel and finds none of the identifiers in any of them. `known` is something
// public of the story, which has to be found: the blocks that were read are the right ones.
export async function assertNothingLeaks(identifiers, known) {
    const scanner = new Scanner(identifiers);
    const control = new Scanner([known]);
    const observer = gateway('maker');
    try {
        const network = observer.getNetwork(channelName);
        const info = await network.getContract('qscc').evaluateTransaction('GetChainInfo', channelName);
        const height = common.BlockchainInfo.deserializeBinary(info).getHeight();
        const blocks = await network.getBlockEvents({ startBlock: 0n });
        let controlled = false;
        const read = await reading(blocks, async (stream) => {
            let number = 0;
            for await (const block of stream) {
                const bytes = block.serializeBinary();
                assert.equal(block.getHeader().getNumber(), number);
                assert.deepEqual(scanner.scan(bytes), [], `block ${number}`);
                controlled ||= control.scan(bytes).some(({ kind }) => kind === 'plain');
                number += 1;
                if (number === height) break;
            }
            return number;
        });
        assert.equal(read, height);
        assert.ok(controlled, `${known} is in no block`);
    } finally {
        observer.close();
    }
}
