import { setTimeout as pause } from 'node:timers/promises';

// Gives every event of the contract to `handle`, in order and once. It goes on behind the
// checkpoint, at first with block `start`; a stream that ends is opened again, until the signal is
// given.
export async function listen(network, contract, start, checkpoint, handle, signal) {
    while (!signal.aborted) {
        try {
            const events = await network.getChaincodeEvents(contract, { startBlock: start, checkpoint });
            signal.addEventListener('abort', () => events.close(), { once: true });
            for await (const event of events) {
                handle(event);
                await checkpoint.checkpointChaincodeEvent(event);
                if (signal.aborted) return;
            }
        } catch (error) {
            // The checkpoint has not moved: nothing is lost.
            if (!('code' in error)) throw error;
        }
        await pause(200);
    }
}

// The same with blocks.
export async function listenForBlocks(network, checkpoint, handle, signal) {
    while (!signal.aborted) {
        try {
            const blocks = await network.getBlockEvents({ startBlock: 0n, checkpoint });
            signal.addEventListener('abort', () => blocks.close(), { once: true });
            for await (const block of blocks) {
                handle(block);
                await checkpoint.checkpointBlock(BigInt(block.getHeader().getNumber()));
                if (signal.aborted) return;
            }
        } catch (error) {
            if (!('code' in error)) throw error;
        }
        await pause(200);
    }
}
