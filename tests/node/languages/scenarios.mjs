// What every contract has to answer, whatever its language: one scenario per part of the shim.
// `needs` are functions of the contract that some shims cannot offer.

import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { common, gateway as gatewayProtos, peer } from '@hyperledger/fabric-protos';
import { StatusCode } from '@hyperledger/fabric-gateway';
import { channelName, identity } from '../lib/network.mjs';
import { eventually, refusal, text } from './services.mjs';

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const fresh = (what) => `${what}-${randomUUID().slice(0, 8)}`;
const numbered = (prefix, from, to) => Array.from({ length: to - from }, (_, index) => [
    `${prefix}${String(from + index).padStart(4, '0')}`, String(from + index),
]);

export const scenarios = [
    {
        what: 'a value is put, read at every peer, and deleted',
        async run(contract) {
            const key = fresh('k');
            await contract.submit('put', key, 'grüße');
            assert.equal(await contract.evaluate('get', key), 'grüße');
            for (const [org, mspId] of [['maker', 'MakerMSP'], ['regulator', 'RegulatorMSP']]) {
                const read = () => contract.of(org).evaluate('get', { arguments: [key], endorsingOrganizations: [mspId] });
                assert.equal(text(await eventually(read)), 'grüße');
            }
            await contract.submit('del', key);
            assert.match(await refusal(contract.evaluate('get', key)), new RegExp(`chaincode response 500, no such key ${key}`));
        },
    },
    {
        what: 'many values are read at once',
        needs: ['getMany'],
        async run(contract) {
            const prefix = fresh('m');
            await contract.submit('putMany', prefix, '3');
            assert.deepEqual(await contract.json('getMany', `${prefix}0002`, 'missing', `${prefix}0000`), ['2', '', '0']);
        },
    },
    {
        what: 'a batch of writes is applied in order',
        needs: ['batch'],
        async run(contract) {
            const prefix = fresh('b');
            await contract.submit('batch', prefix, '1500');
            assert.deepEqual(await contract.json('range', prefix, `${prefix}~`), numbered(prefix, 1, 1500));
        },
    },
    {
        what: 'a range comes in several portions and is validated at commit',
        async run(contract) {
            const prefix = fresh('r');
            await contract.submit('putMany', prefix, '250');
            assert.deepEqual(await contract.json('range', prefix, `${prefix}~`), numbered(prefix, 0, 250));
            assert.deepEqual(JSON.parse(await contract.submit('range', prefix, `${prefix}0120`)), numbered(prefix, 0, 120));
            assert.deepEqual(await contract.json('range', `${prefix}~`, `${prefix}~~`), []);
        },
    },
    {
        what: 'a range is turned in pages',
        async run(contract) {
            const prefix = fresh('p');
            await contract.submit('putMany', prefix, '250');
            for (const [bookmark, from, to, next] of [
                ['', 0, 100, `${prefix}0100`], [`${prefix}0100`, 100, 200, `${prefix}0200`], [`${prefix}0200`, 200, 250, ''],
            ]) {
                const page = await contract.json('rangePage', prefix, `${prefix}~`, '100', bookmark);
                assert.deepEqual(page.entries, numbered(prefix, from, to));
                if (contract.language === 'python') continue;
                assert.equal(page.bookmark, next);
                assert.equal(page.fetched, to - from);
            }
        },
    },
    {
        what: 'a transaction that turns pages may not write',
        needs: ['pageAndPut'],
        async run(contract) {
            await contract.refused(
                contract.submit('pageAndPut', 'a', 'z'),
                /Transaction has already performed a paginated query\. Writes are not allowed/,
            );
        },
    },
    {
        what: 'composite keys are found by their beginnings',
        async run(contract) {
            const color = fresh('color');
            for (const [value, ...attributes] of [['1', 'red', 'a'], ['2', 'red', 'b'], ['3', 'redder', 'c'], ['4', 'blue', 'ü']]) {
                await contract.submit('putComposite', value, color, ...attributes);
            }
            assert.deepEqual(await contract.json('partial', color, 'red'), [[[color, 'red', 'a'], '1'], [[color, 'red', 'b'], '2']]);
            assert.deepEqual((await contract.json('partial', color)).map(([, value]) => value), ['4', '1', '2', '3']);
            // They are apart from simple keys.
            assert.deepEqual(await contract.json('range', color, `${color}~`), []);
        },
    },
    {
        what: 'composite keys are turned in pages',
        needs: ['partialPage'],
        async run(contract) {
            const color = fresh('paged');
            for (const number of ['1', '2', '3']) await contract.submit('putComposite', number, color, 'red', number);
            const first = await contract.json('partialPage', '2', '', color, 'red');
            assert.deepEqual(first, {
                entries: [[[color, 'red', '1'], '1'], [[color, 'red', '2'], '2']],
                bookmark: `\u0000${color}\u0000red\u00003\u0000`,
                fetched: 2,
            });
            const second = await contract.json('partialPage', '2', first.bookmark, color, 'red');
            assert.deepEqual(second, { entries: [[[color, 'red', '3'], '3']], bookmark: '', fetched: 1 });
        },
    },
    {
        what: 'all composite keys are turned in pages',
        needs: ['allPage'],
        async run(contract) {
            const first = `!${fresh('all')}`;
            await contract.submit('putComposite', 'x', first, 'y');
            const page = await contract.json('allPage', '1', '');
            assert.deepEqual(page.entries, [[[first, 'y'], 'x']]);
            assert.equal(page.fetched, 1);
            assert.match(page.bookmark, /^\u0000/);
        },
    },
    {
        what: 'history is newest first',
        async run(contract) {
            const key = fresh('h');
            const txIds = [];
            for (const [name, ...args] of [['put', key, 'one'], ['put', key, 'two'], ['del', key]]) {
                const commit = await contract.of('hospital').submitAsync(name, { arguments: args });
                assert.equal((await commit.getStatus()).code, StatusCode.VALID);
                txIds.unshift(commit.getTransactionId());
            }
            const changes = await contract.json('history', key);
            const now = Date.now() / 1000;
            assert.ok(changes.every(({ seconds }) => Math.abs(now - seconds) < 900), JSON.stringify(changes));
            assert.deepEqual(changes.map(({ seconds, ...change }) => change), [
                { txId: txIds[0], value: '', deleted: true },
                { txId: txIds[1], value: 'two', deleted: false },
                { txId: txIds[2], value: 'one', deleted: false },
            ]);
        },
    },
    {
        what: 'JSON values are queried, sorted by a declared index, and turned in pages',
        async run(contract) {
            const docType = fresh('doc');
            const entry = (size) => [`${docType}${size}`, JSON.stringify({ docType, size })];
            for (const size of [1, 3, 2, 4, 5]) await contract.submit('put', ...entry(size));
            const found = await contract.json('query', JSON.stringify({ selector: { docType, size: { $gt: 3 } } }));
            assert.deepEqual(found.map(([key, value]) => [key, JSON.parse(value)]), [4, 5].map((size) => [`${docType}${size}`, { docType, size }]));
            const sorted = JSON.stringify({ selector: { docType, size: { $gte: 0 } }, sort: [{ size: 'desc' }, { docType: 'desc' }] });
            let bookmark = '';
            for (const sizes of [[5, 4], [3, 2], [1], []]) {
                const page = await eventually(() => contract.json('queryPage', sorted, '2', bookmark));
                assert.deepEqual(page.entries.map(([key]) => key), sizes.map((size) => `${docType}${size}`));
                if (contract.language === 'python') break;
                assert.equal(page.fetched, sizes.length);
                assert.notEqual(page.bookmark, '');
                bookmark = page.bookmark;
            }
            if (contract.language === 'python') return;
            await contract.refused(
                contract.evaluate('query', JSON.stringify({ selector: { docType }, sort: ['color'] })),
                /GET_QUERY_RESULT failed: transaction ID: [0-9a-f]{64}: error handling CouchDB request\. Error:no_usable_index/,
            );
        },
    },
    ...['pair', '_implicit_org_HospitalMSP'].map((collection) => ({
        what: `private data of ${collection} is put, read, hashed, queried, deleted and purged`,
        needs: ['privatePut'],
        run: (contract) => privateData(contract, collection),
    })),
    {
        what: 'private data is for members only; everybody has its hash',
        needs: ['privatePut'],
        async run(contract) {
            const key = fresh('members');
            await putPrivate(contract, 'pair', key, 'between us');
            const at = (org, mspId, name) => contract.of(org).evaluate(name, { arguments: ['pair', key], endorsingOrganizations: [mspId] });
            assert.equal(text(await eventually(() => at('maker', 'MakerMSP', 'privateGet'))), 'between us');
            const hash = await eventually(async () => {
                const read = text(await at('regulator', 'RegulatorMSP', 'privateHash'));
                assert.notEqual(read, '');
                return read;
            });
            assert.equal(hash, sha256('between us'));
            await contract.refused(
                at('regulator', 'HospitalMSP', 'privateGet'),
                new RegExp(`tx creator does not have read access permission on privatedata in chaincodeName:${contract.name} collectionName: pair`),
            );
            await contract.refused(
                contract.evaluate('privateGet', 'nowhere', key),
                /GET_STATE failed: transaction ID: [0-9a-f]{64}: .*nowhere/,
            );
        },
    },
    {
        what: "a key's policy takes the place of the chaincode's",
        needs: ['setPolicy'],
        async run(contract) {
            const key = fresh('policy');
            await contract.submit('put', key, 'one');
            assert.deepEqual(await contract.json('getPolicy', key), []);
            await contract.submit('setPolicy', key, 'HospitalMSP', 'MakerMSP');
            assert.deepEqual(await contract.json('getPolicy', key), ['HospitalMSP', 'MakerMSP']);
            const few = await contract.endorsedBy(['HospitalMSP'], 'put', [key, 'two']);
            assert.equal(few.code, StatusCode.ENDORSEMENT_POLICY_FAILURE);
            assert.equal(await contract.evaluate('get', key), 'one');
            // The gateway finds out by itself who has to endorse.
            await contract.submit('put', key, 'three');
            assert.equal(await contract.evaluate('get', key), 'three');
        },
    },
    {
        what: "a private key's policy takes the place of the collection's",
        needs: ['privateSetPolicy'],
        async run(contract) {
            const key = fresh('policy');
            await putPrivate(contract, 'pair', key, 'one');
            assert.deepEqual(await contract.json('privateGetPolicy', 'pair', key), []);
            const set = await contract.endorsedBy(['HospitalMSP'], 'privateSetPolicy', ['pair', key, 'HospitalMSP', 'MakerMSP']);
            assert.equal(set.code, StatusCode.VALID);
            assert.deepEqual(await contract.json('privateGetPolicy', 'pair', key), ['HospitalMSP', 'MakerMSP']);
            const value = { value: Buffer.from('two') };
            const few = await contract.endorsedBy(['HospitalMSP'], 'privatePut', ['pair', key], value);
            assert.equal(few.code, StatusCode.ENDORSEMENT_POLICY_FAILURE);
            assert.equal(await contract.evaluate('privateGet', 'pair', key), 'one');
            const enough = await contract.endorsedBy(['HospitalMSP', 'MakerMSP'], 'privatePut', ['pair', key], value);
            assert.equal(enough.code, StatusCode.VALID);
            assert.equal(await contract.evaluate('privateGet', 'pair', key), 'two');
        },
    },
    {
        what: 'an event names the transaction',
        async run(contract) {
            const commit = await contract.of('hospital').submitAsync('event', { arguments: ['Rang', 'twice'] });
            const status = await commit.getStatus();
            assert.equal(status.code, StatusCode.VALID);
            // Version 2.5.4 of the Python shim keeps events to itself.
            const last = contract.language === 'python'
                ? await contract.of('hospital').submitAsync('put', { arguments: [fresh('k'), 'v'] })
                : commit;
            assert.equal((await last.getStatus()).code, StatusCode.VALID);
            if (contract.language === 'python') return;
            const events = await contract.connection('hospital').getNetwork(channelName)
                .getChaincodeEvents(contract.name, { startBlock: status.blockNumber });
            for await (const event of events) {
                assert.deepEqual({ ...event, payload: text(event.payload) }, {
                    blockNumber: status.blockNumber,
                    chaincodeName: contract.name,
                    eventName: 'Rang',
                    payload: 'twice',
                    transactionId: commit.getTransactionId(),
                });
                break;
            }
            events.close();
        },
    },
    {
        what: 'a transaction knows itself',
        run: context,
    },
    {
        what: 'an error reaches the application in its words',
        async run(contract) {
            assert.match(await refusal(contract.evaluate('fail', 'on purpose')), /chaincode response 500, on purpose/);
            assert.match(await refusal(contract.submit('fail', 'on purpose')), /chaincode response 500, on purpose/);
            assert.match(await refusal(contract.evaluate('nosuch')), /chaincode response 500, no such function nosuch/);
        },
    },
];

async function putPrivate(contract, collection, key, value, name = 'privatePut', parts = [key]) {
    const status = await contract.endorsedBy(['HospitalMSP'], name, [collection, ...parts], { value: Buffer.from(value) });
    assert.equal(status.code, StatusCode.VALID);
}

async function privateData(contract, collection) {
    const submit = async (name, ...args) => {
        assert.equal((await contract.endorsedBy(['HospitalMSP'], name, [collection, ...args])).code, StatusCode.VALID);
    };
    const key = fresh('secret');
    const document = (size) => JSON.stringify({ docType: key, size });
    for (const size of [1, 2, 3]) await putPrivate(contract, collection, `${key}${size}`, document(size));
    assert.equal(await contract.evaluate('privateGet', collection, `${key}1`), document(1));
    assert.equal(await contract.evaluate('privateHash', collection, `${key}1`), sha256(document(1)));
    if (!contract.lacks('privateGetMany')) {
        assert.deepEqual(
            await contract.json('privateGetMany', collection, `${key}3`, 'missing', `${key}1`),
            [document(3), '', document(1)],
        );
    }
    const entry = (size) => [`${key}${size}`, document(size)];
    assert.deepEqual(await contract.json('privateRange', collection, `${key}1`, `${key}3`), [entry(1), entry(2)]);
    const found = await contract.json('privateQuery', collection, JSON.stringify({ selector: { docType: key, size: { $gt: 1 } } }));
    assert.deepEqual(found.map(([name, value]) => [name, JSON.parse(value)]), [2, 3].map((size) => [`${key}${size}`, { docType: key, size }]));
    await putPrivate(contract, collection, key, 'composed', 'privatePutComposite', [key, 'a', 'b']);
    assert.deepEqual(await contract.json('privatePartial', collection, key, 'a'), [[[key, 'a', 'b'], 'composed']]);

    await submit('privateDel', `${key}1`);
    await submit('privatePurge', `${key}2`);
    assert.match(await refusal(contract.evaluate('privateGet', collection, `${key}1`)), /no such private key/);
    assert.match(await refusal(contract.evaluate('privateGet', collection, `${key}2`)), /no such private key/);
    assert.equal(await contract.evaluate('privateHash', collection, `${key}1`), '');
    assert.equal(await contract.evaluate('privateHash', collection, `${key}2`), '');
    assert.deepEqual(await contract.json('privateRange', collection, `${key}1`, `${key}9`), [entry(3)]);
}

// The contract's facts are those of the very proposal that the application signed.
async function context(contract) {
    const args = ['grüße', '', 'x y'];
    const proposal = contract.of('hospital').newProposal('context', {
        arguments: args,
        transientData: { secret: Buffer.from('hush'), other: Buffer.from('ü') },
        endorsingOrganizations: ['HospitalMSP'],
    });
    const facts = JSON.parse(text(await proposal.evaluate()));
    const signed = gatewayProtos.ProposedTransaction.deserializeBinary(proposal.getBytes()).getProposal();
    const header = common.Header.deserializeBinary(peer.Proposal.deserializeBinary(signed.getProposalBytes_asU8()).getHeader_asU8());
    const { nonce, creator } = common.SignatureHeader.deserializeBinary(header.getSignatureHeader_asU8()).toObject();
    const bytes = { nonce: Buffer.from(nonce, 'base64'), creator: Buffer.from(creator, 'base64') };
    const timestamp = common.ChannelHeader.deserializeBinary(header.getChannelHeader_asU8()).getTimestamp();
    const { mspId, credentials } = identity('hospital', 'User1');
    const expected = {
        txId: proposal.getTransactionId(),
        channel: channelName,
        function: 'context',
        args,
        parts: ['context', ...args],
        joined: `context${args.join('')}`,
        mspId,
        certificate: sha256(credentials),
        creator: sha256(bytes.creator),
        binding: sha256(Buffer.concat([bytes.nonce, bytes.creator, Buffer.alloc(8)])),
        proposal: sha256(signed.getProposalBytes_asU8()),
        signature: sha256(signed.getSignature_asU8()),
        seconds: timestamp.getSeconds(),
        nanos: timestamp.getNanos(),
        transient: { secret: 'hush', other: 'ü' },
        decorations: 0,
    };
    // A shim that lacks a fact leaves it out, and says so here.
    const known = {
        go: ['certificate'],
        node: ['certificate', 'proposal', 'decorations'],
        java: ['certificate', 'mspId', 'decorations'],
        python: ['parts', 'joined', 'creator', 'binding', 'proposal', 'signature', 'transient', 'decorations'],
    };
    for (const absent of known[contract.language]) delete expected[absent];
    assert.deepEqual(facts, expected);
}
