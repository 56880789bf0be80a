import { setTimeout as pause } from 'node:timers/promises';
import { StatusCode } from '@hyperledger/fabric-gateway';

const conflicts = [StatusCode.MVCC_READ_CONFLICT, StatusCode.PHANTOM_READ_CONFLICT];

// Has one call endorsed, ordered and committed, exactly once, however often a step has to be
// repeated. The gateways are those of one identity at several peers, the nearest first; `end` is
// when to give up, in milliseconds since 1970.
export async function submit(gateways, channel, contract, name, args, end) {
    for (;;) {
        const transaction = await endorse(gateways, channel, contract, name, args, end);
        const status = await order(gateways, transaction, end);
        if (!conflicts.includes(status.code) || Date.now() > end) return status;
        // What it read has changed since, perhaps the contract's definition: nothing was written.
    }
}

// Asks until a gateway finds the endorsements. Nothing is ordered yet, so every try may be a new
// proposal. What the contract itself refuses it would refuse again.
async function endorse(gateways, channel, contract, name, args, end) {
    for (let turn = 0; ; turn += 1) {
        const shared = gateways[turn % gateways.length].getNetwork(channel).getContract(contract);
        try {
            return await shared.newProposal(name, { arguments: args }).endorse();
        } catch (error) {
            const refused = (error.details ?? []).some(({ message }) => message.startsWith('chaincode response '));
            if (refused || Date.now() > end) throw error;
            await pause(200);
        }
    }
}

// Sends the transaction until its fate is known. From the first time on it may be ordered, so what
// is repeated is this one: of two copies with one id the second is invalid.
async function order(gateways, transaction, end) {
    const bytes = transaction.getBytes();
    for (let turn = 0; ; turn += 1) {
        try {
            const commit = await gateways[turn % gateways.length].newTransaction(bytes).submit();
            return await commit.getStatus();
        } catch (error) {
            if (Date.now() > end) throw error;
            await pause(200);
        }
    }
}
