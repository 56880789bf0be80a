// What everybody sees of a story: the events of its contract, and the blocks.

import assert from 'node:assert/strict';
import { channelName, gateway, text } from '../../lib/network.mjs';
import { Scanner, eachBlock, reading } from '../../lib/scan.mjs';
import { committed } from './actors.mjs';

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
    let controlled = false;
    await eachBlock('maker', (bytes, number) => {
        assert.deepEqual(scanner.scan(bytes), [], `block ${number}`);
        controlled ||= control.scan(bytes).some(({ kind }) => kind === 'plain');
    });
    assert.ok(controlled, `${known} is in no block`);
}
