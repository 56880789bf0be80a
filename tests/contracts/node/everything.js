// A contract on Fabric's Node shim that makes every call that the shim offers. The contracts beside
// it do the same in other languages; tests/node/languages says what each function has to answer.
'use strict';

const { createHash } = require('node:crypto');
const shim = require('fabric-shim');

// An answer is sent as it is (Buffer), or as text (string), or as JSON (anything else).
class Everything {
    async Init(stub) {
        const { params } = stub.getFunctionAndParameters();
        await stub.putState('initialized', Buffer.from(params[0]));
        return shim.success();
    }

    async Invoke(stub) {
        const { fcn, params } = stub.getFunctionAndParameters();
        if (fcn === 'crash') throw new Error(params[0]);
        const called = functions[fcn];
        if (!called) return shim.error(`no such function ${fcn}`);
        try {
            const answer = await called(stub, ...params);
            if (answer === undefined || Buffer.isBuffer(answer)) return shim.success(answer);
            return shim.success(Buffer.from(typeof answer === 'string' ? answer : JSON.stringify(answer)));
        } catch (error) {
            return shim.error(error.message);
        }
    }
}

const functions = {
    put: (stub, key, value) => nothing(stub.putState(key, Buffer.from(value))),
    async get(stub, key) {
        const value = await stub.getState(key);
        if (value.length === 0) throw new Error(`no such key ${key}`);
        return value;
    },
    del: (stub, key) => nothing(stub.deleteState(key)),
    async putMany(stub, prefix, count) {
        for (let number = 0; number < Number(count); number += 1) {
            await stub.putState(`${prefix}${String(number).padStart(4, '0')}`, Buffer.from(String(number)));
        }
    },
    range: (stub, start, end) => entries(stub.getStateByRange(start, end)),
    rangePage: (stub, start, end, size, bookmark) => page(
        stub.getStateByRangeWithPagination(start, end, Number(size), bookmark),
    ),
    putComposite: (stub, value, type, ...attributes) => nothing(
        stub.putState(stub.createCompositeKey(type, attributes), Buffer.from(value)),
    ),
    partial: async (stub, type, ...attributes) => split(
        stub,
        await entries(stub.getStateByPartialCompositeKey(type, attributes)),
    ),
    async partialPage(stub, size, bookmark, type, ...attributes) {
        const turned = await page(
            stub.getStateByPartialCompositeKeyWithPagination(type, attributes, Number(size), bookmark),
        );
        return { ...turned, entries: split(stub, turned.entries) };
    },
    async history(stub, key) {
        const changes = [];
        for await (const { txId, value, isDelete, timestamp } of stub.getHistoryForKey(key)) {
            changes.push({ txId, value: value.toString(), deleted: isDelete, seconds: Number(timestamp.seconds) });
        }
        return changes;
    },
    query: (stub, query) => entries(stub.getQueryResult(query)),
    queryPage: (stub, query, size, bookmark) => page(
        stub.getQueryResultWithPagination(query, Number(size), bookmark),
    ),
    async pageAndPut(stub, start, end) {
        await page(stub.getStateByRangeWithPagination(start, end, 1, ''));
        await stub.putState('never', Buffer.from('written'));
    },

    privatePut: (stub, collection, key) => nothing(stub.putPrivateData(collection, key, transientValue(stub))),
    async privateGet(stub, collection, key) {
        const value = await stub.getPrivateData(collection, key);
        if (value.length === 0) throw new Error(`no such private key ${key}`);
        return value;
    },
    async privateHash(stub, collection, key) {
        return (await stub.getPrivateDataHash(collection, key)).toString('hex');
    },
    privateDel: (stub, collection, key) => nothing(stub.deletePrivateData(collection, key)),
    privatePurge: (stub, collection, key) => nothing(stub.purgePrivateData(collection, key)),
    privateRange: (stub, collection, start, end) => entries(stub.getPrivateDataByRange(collection, start, end)),
    privatePutComposite: (stub, collection, type, ...attributes) => nothing(
        stub.putPrivateData(collection, stub.createCompositeKey(type, attributes), transientValue(stub)),
    ),
    privatePartial: async (stub, collection, type, ...attributes) => split(
        stub,
        await entries(stub.getPrivateDataByPartialCompositeKey(collection, type, attributes)),
    ),
    privateQuery: (stub, collection, query) => entries(stub.getPrivateDataQueryResult(collection, query)),
    privateSetPolicy: (stub, collection, key, ...mspIds) => nothing(
        stub.setPrivateDataValidationParameter(collection, key, signedByPeersOf(mspIds)),
    ),
    privateGetPolicy: async (stub, collection, key) => organizations(
        await stub.getPrivateDataValidationParameter(collection, key),
    ),

    setPolicy: (stub, key, ...mspIds) => nothing(stub.setStateValidationParameter(key, signedByPeersOf(mspIds))),
    getPolicy: async (stub, key) => organizations(await stub.getStateValidationParameter(key)),
    event(stub, name, payload) {
        stub.setEvent(name, Buffer.from(payload));
    },
    async call(stub, chaincode, channel, ...args) {
        const { status, message, payload } = await stub.invokeChaincode(chaincode, args, channel);
        return { status, message, payload: payload.toString() };
    },
    context,
    fail(stub, message) {
        throw new Error(message);
    },
};

async function nothing(work) {
    await work;
}

async function entries(iterator) {
    const found = [];
    for await (const { key, value } of iterator) found.push([key, value.toString()]);
    return found;
}

async function page(turning) {
    const { iterator, metadata } = await turning;
    const found = [];
    for (let step = await iterator.next(); !step.done; step = await iterator.next()) {
        found.push([step.value.key, step.value.value.toString()]);
    }
    return { entries: found, bookmark: metadata.bookmark, fetched: metadata.fetchedRecordsCount };
}

// The same entries with their keys taken apart: the type, then the attributes.
function split(stub, found) {
    return found.map(([key, value]) => {
        const { objectType, attributes } = stub.splitCompositeKey(key);
        return [[objectType, ...attributes], value];
    });
}

// The value travels as transient data, which reaches no block.
function transientValue(stub) {
    const value = stub.getTransient().get('value');
    if (!value) throw new Error('no transient value');
    return value;
}

function signedByPeersOf(mspIds) {
    const policy = new shim.KeyEndorsementPolicy();
    policy.addOrgs('PEER', ...mspIds);
    return policy.getPolicy();
}

function organizations(policy) {
    return policy ? new shim.KeyEndorsementPolicy(policy).listOrgs().sort() : [];
}

function sha256(bytes) {
    return createHash('sha256').update(bytes).digest('hex');
}

// What a transaction knows of itself; long byte strings as their hashes.
function context(stub, ...args) {
    const { fcn } = stub.getFunctionAndParameters();
    const { proposal, signature } = stub.getSignedProposal();
    const { creator_u8: creator } = proposal.header.signatureHeader;
    const timestamp = stub.getTxTimestamp();
    const { mspid } = stub.getCreator();
    return {
        txId: stub.getTxID(),
        channel: stub.getChannelID(),
        function: fcn,
        args,
        parts: stub.getStringArgs(),
        joined: Buffer.concat(stub.getBufferArgs()).toString(),
        mspId: mspid,
        creator: sha256(creator),
        binding: stub.getBinding(),
        signature: sha256(signature),
        seconds: Number(timestamp.seconds),
        nanos: timestamp.nanos,
        transient: Object.fromEntries([...stub.getTransient()].map(([key, value]) => [key, value.toString()])),
    };
}

shim.server(new Everything(), {
    ccid: process.env.CHAINCODE_ID,
    address: process.env.CHAINCODE_SERVER_ADDRESS,
}).start();
