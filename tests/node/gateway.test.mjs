// npm @hyperledger/fabric-gateway, unmodified, as an application uses it.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { status as grpcStatus } from '@grpc/grpc-js';
import { CommitError, EndorseError, GatewayError, StatusCode, checkpointers, connect, hash } from '@hyperledger/fabric-gateway';
import { common, peer } from '@hyperledger/fabric-protos';
import { channelName, gateway, grpcClient, identity, network as description, organization, signer, text, tlsHash } from './lib/network.mjs';

let hospital;
let network;
let contract;

before(() => {
    hospital = gateway('hospital');
    network = hospital.getNetwork(channelName);
    contract = network.getContract('kv');
});

after(() => hospital.close());

const key = () => `node-${randomUUID()}`;

test('a submitted value is read back by every organization', async () => {
    const name = key();
    await contract.submitTransaction('put', name, 'blue');
    assert.equal(text(await contract.evaluateTransaction('get', name)), 'blue');
    for (const org of ['maker', 'regulator']) {
        const other = gateway(org);
        try {
            const result = await eventually(async () => {
                try {
                    return text(await other.getNetwork(channelName).getContract('kv').evaluateTransaction('get', name));
                } catch (error) {
                    // That organization's peer has not committed the block yet.
                    assert.match(error.message, /NOT_FOUND/);
                    return undefined;
                }
            });
            assert.equal(result, 'blue');
        } finally {
            other.close();
        }
    }
});

test('endorse, submit and commit status work as separate steps', async () => {
    const name = key();
    const proposal = contract.newProposal('put', { arguments: [name, 'steps'] });
    const transaction = await proposal.endorse();
    assert.equal(transaction.getTransactionId(), proposal.getTransactionId());
    const commit = await transaction.submit();
    const status = await commit.getStatus();
    assert.equal(status.code, StatusCode.VALID);
    assert.equal(status.successful, true);
    assert.ok(status.blockNumber > 0n);
    assert.equal(status.transactionId, proposal.getTransactionId());
});

test('proposal, transaction and commit are signed offline', async () => {
    const name = key();
    const client = grpcClient('hospital');
    const unsigned = connect({ client, identity: identity('hospital', 'User1'), hash: hash.sha256 });
    const sign = signer('hospital', 'User1');
    try {
        const proposal = unsigned.getNetwork(channelName).getContract('kv').newProposal('put', { arguments: [name, 'offline'] });
        const signedProposal = unsigned.newSignedProposal(proposal.getBytes(), await sign(proposal.getDigest()));
        const transaction = await signedProposal.endorse();
        const signedTransaction = unsigned.newSignedTransaction(transaction.getBytes(), await sign(transaction.getDigest()));
        const commit = await signedTransaction.submit();
        const signedCommit = unsigned.newSignedCommit(commit.getBytes(), await sign(commit.getDigest()));
        const status = await signedCommit.getStatus();
        assert.equal(status.code, StatusCode.VALID);
    } finally {
        unsigned.close();
        client.close();
    }
    assert.equal(text(await contract.evaluateTransaction('get', name)), 'offline');
});

test('a wrong offline signature is refused and nothing is written', async () => {
    const name = key();
    const proposal = contract.newProposal('put', { arguments: [name, 'forged'] });
    const forged = await signer('maker', 'User1')(proposal.getDigest());
    const signed = hospital.raw.newSignedProposal(proposal.getBytes(), forged);
    await assert.rejects(signed.endorse(), (error) => {
        assert.ok(error instanceof EndorseError, String(error));
        assert.match(JSON.stringify(error.details) + error.message, /access denied: channel \[health\] creator org \[HospitalMSP\]/);
        return true;
    });
    await assert.rejects(contract.evaluateTransaction('get', name), /chaincode response 404, NOT_FOUND/);
});

test('chaincode events arrive, and a checkpoint resumes after the last one', async () => {
    const names = [key(), key(), key()];
    const start = await contract.submitAsync('put', { arguments: [names[0], 'v', 'Colored'] });
    const first = await start.getStatus();
    const seen = [];
    const checkpointer = checkpointers.inMemory();
    const events = await network.getChaincodeEvents('kv', { startBlock: first.blockNumber });
    try {
        for await (const event of events) {
            if (event.transactionId !== start.getTransactionId()) continue;
            assert.equal(event.eventName, 'Colored');
            assert.equal(event.chaincodeName, 'kv');
            seen.push(event.transactionId);
            await checkpointer.checkpointChaincodeEvent(event);
            break;
        }
    } finally {
        events.close();
    }
    const later = [];
    for (const name of names.slice(1)) {
        const commit = await contract.submitAsync('put', { arguments: [name, 'v', 'Colored'] });
        await commit.getStatus();
        later.push(commit.getTransactionId());
    }
    const resumed = await network.getChaincodeEvents('kv', { checkpoint: checkpointer });
    const ours = [start.getTransactionId(), ...later];
    const after = [];
    try {
        for await (const event of resumed) {
            if (ours.includes(event.transactionId)) after.push(event.transactionId);
            if (after.length === 2) break;
        }
    } finally {
        resumed.close();
    }
    assert.deepEqual(after, later);
});

test('block events start with the next commit and carry transactions and validation codes', async () => {
    const earlier = await contract.submitAsync('put', { arguments: [key(), 'earlier'] });
    const { blockNumber: before } = await earlier.getStatus();
    const blocks = await network.getBlockEvents();
    // The peer may open the stream after a commit that follows this line: commit until one is seen.
    let seen = false;
    const commits = new Map();
    const feed = (async () => {
        while (!seen) {
            const commit = await contract.submitAsync('put', { arguments: [key(), 'block'] });
            const { blockNumber } = await commit.getStatus();
            commits.set(blockNumber, commit.getTransactionId());
            await new Promise((resolve) => { setTimeout(resolve, 100); });
        }
    })();
    try {
        for await (const block of blocks) {
            const number = BigInt(block.getHeader().getNumber());
            assert.ok(number > before, `block ${number} was there before`);
            const flags = block.getMetadata().getMetadataList_asU8()[common.BlockMetadataIndex.TRANSACTIONS_FILTER];
            const envelopes = block.getData().getDataList_asU8();
            assert.equal(flags.length, envelopes.length);
            seen = true;
            await feed;
            const position = envelopes.map(transactionId).indexOf(commits.get(number));
            assert.ok(position >= 0, `block ${number} lacks its transaction`);
            assert.equal(flags[position], peer.TxValidationCode.VALID);
            break;
        }
    } finally {
        seen = true;
        blocks.close();
        await feed;
    }
});

test('filtered block events replay from a block and hide payloads', async () => {
    const commit = await contract.submitAsync('put', { arguments: [key(), 'secret', 'Filtered'] });
    const { blockNumber } = await commit.getStatus();
    const blocks = await network.getFilteredBlockEvents({ startBlock: blockNumber });
    try {
        for await (const block of blocks) {
            assert.equal(BigInt(block.getNumber()), blockNumber);
            assert.equal(block.getChannelId(), channelName);
            const found = block.getFilteredTransactionsList().find((entry) => entry.getTxid() === commit.getTransactionId());
            assert.ok(found);
            assert.equal(found.getTxValidationCode(), peer.TxValidationCode.VALID);
            const [action] = found.getTransactionActions().getChaincodeActionsList();
            assert.equal(action.getChaincodeEvent().getEventName(), 'Filtered');
            assert.equal(action.getChaincodeEvent().getPayload_asU8().length, 0);
            break;
        }
    } finally {
        blocks.close();
    }
});

test('blocks with private data are delivered to a member', async () => {
    const commit = await contract.submitAsync('put', { arguments: [key(), 'v'] });
    const { blockNumber } = await commit.getStatus();
    const blocks = await network.getBlockAndPrivateDataEvents({ startBlock: blockNumber });
    try {
        for await (const entry of blocks) {
            assert.equal(BigInt(entry.getBlock().getHeader().getNumber()), blockNumber);
            break;
        }
    } finally {
        blocks.close();
    }
});

test('an endorser that refuses is named with its address, MSP and message', async () => {
    const records = network.getContract('records');
    await assert.rejects(records.submitTransaction('RegisterRecords', JSON.stringify({ records: [] })), (error) => {
        assert.ok(error instanceof EndorseError, String(error));
        assert.ok(error.details.length > 0, 'no details');
        const [detail] = error.details;
        assert.equal(detail.mspId, 'HospitalMSP');
        assert.equal(detail.address, `localhost:${organization('hospital').ports.peer}`);
        assert.match(detail.message, /chaincode response 403, [A-Z_]+: /);
        return true;
    });
});

test('a contract that is not defined is a clear error', async () => {
    await assert.rejects(network.getContract('nothing').submitTransaction('put', 'a', 'b'), (error) => {
        assert.ok(error instanceof EndorseError, String(error));
        assert.match(error.message + JSON.stringify(error.details), /nothing/);
        return true;
    });
});

test('a channel that does not exist is a clear error', async () => {
    await assert.rejects(hospital.getNetwork('elsewhere').getContract('kv').evaluateTransaction('get', 'a'), (error) => {
        assert.ok(error instanceof GatewayError, String(error));
        assert.equal(error.code, grpcStatus.UNAVAILABLE);
        return true;
    });
});

test('two transactions on one stale read end in one MVCC conflict', async () => {
    const name = key();
    await contract.submitTransaction('put', name, '0');
    const transactions = await Promise.all([1, 2].map(() => contract.newProposal('increment', { arguments: [name] }).endorse()));
    const commits = await Promise.all(transactions.map((transaction) => transaction.submit()));
    const statuses = await Promise.all(commits.map((commit) => commit.getStatus()));
    const codes = statuses.map((entry) => entry.code).sort();
    assert.deepEqual(codes, [StatusCode.VALID, StatusCode.MVCC_READ_CONFLICT].sort());
    assert.equal(text(await contract.evaluateTransaction('get', name)), '1');
});

test('a conflict reaches submitTransaction as a CommitError with its code', async () => {
    const name = key();
    await contract.submitTransaction('put', name, '0');
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => contract.submitTransaction('increment', name)));
    const failed = outcomes.filter((outcome) => outcome.status === 'rejected').map((outcome) => outcome.reason);
    for (const error of failed) {
        assert.ok(error instanceof CommitError, String(error));
        assert.equal(error.code, StatusCode.MVCC_READ_CONFLICT);
    }
    const value = Number(text(await contract.evaluateTransaction('get', name)));
    assert.equal(value, outcomes.length - failed.length);
});

test('an application of a foreign organization is refused', async () => {
    const client = grpcClient('hospital');
    const foreign = connect({
        client,
        identity: { mspId: 'NobodyMSP', credentials: identity('hospital', 'User1').credentials },
        signer: signer('hospital', 'User1'),
        hash: hash.sha256,
    });
    try {
        await assert.rejects(foreign.getNetwork(channelName).getContract('kv').evaluateTransaction('get', 'a'), /creator org unknown|access denied/);
    } finally {
        foreign.close();
        client.close();
    }
});

test('a commit status request under a foreign identity is denied', async () => {
    const commit = await contract.submitAsync('put', { arguments: [key(), 'v'] });
    await commit.getStatus();
    const signed = hospital.raw.newSignedCommit(commit.getBytes(), await signer('maker', 'User1')(commit.getDigest()));
    await assert.rejects(signed.getStatus(), (error) => {
        assert.equal(error.code, grpcStatus.PERMISSION_DENIED);
        return true;
    });
});

test('the description names three organizations', () => {
    assert.deepEqual(description.organizations.map((member) => member.msp_id), ['HospitalMSP', 'MakerMSP', 'RegulatorMSP']);
    assert.equal(tlsHash('hospital').length, 32);
});

function transactionId(envelope) {
    const payload = common.Payload.deserializeBinary(common.Envelope.deserializeBinary(envelope).getPayload_asU8());
    return common.ChannelHeader.deserializeBinary(payload.getHeader().getChannelHeader_asU8()).getTxId();
}

async function eventually(probe) {
    for (let attempt = 0; attempt < 200; attempt += 1) {
        const result = await probe();
        if (result !== undefined) return result;
        await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
    throw new Error('waited ten seconds in vain');
}
