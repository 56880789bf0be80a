// Every message of npm's fabric-protos through our configtxlator: to JSON, back to the same bytes, and
// read by the package again.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { common, ledger, msp, peer } from '@hyperledger/fabric-protos';
import timestamp from 'google-protobuf/google/protobuf/timestamp_pb.js';

let server;
let url;

before(async () => {
    const port = await new Promise((resolve, reject) => {
        const probe = createServer().once('error', reject);
        probe.listen(0, '127.0.0.1', () => {
            const { port } = probe.address();
            probe.close(() => resolve(port));
        });
    });
    url = `http://127.0.0.1:${port}/protolator`;
    const options = ['configtxlator', 'start', '--hostname', '127.0.0.1', '--port', String(port)];
    server = spawn(process.env.CONSILIUM, options, { stdio: 'ignore' });
    for (const end = Date.now() + 30000; ; ) {
        try {
            await fetch(url);
            return;
        } catch (error) {
            if (Date.now() > end) throw error;
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
    }
});

after(() => server?.kill());

async function post(path, body) {
    const answer = await fetch(`${url}/${path}`, { method: 'POST', body });
    const content = Buffer.from(await answer.arrayBuffer());
    assert.equal(answer.status, 200, `${path}: ${content}`);
    return content;
}

const hex = (bytes) => Buffer.from(bytes).toString('hex');

// Bytes of a message become JSON, the same bytes again, and the same message to npm's package.
async function goesThrough(name, type, message, shows = {}) {
    const bytes = message.serializeBinary();
    const json = await post(`decode/${name}`, bytes);
    const shown = JSON.parse(json);
    for (const [field, value] of Object.entries(shows)) assert.deepEqual(shown[field], value, `${name}: ${json}`);
    const again = await post(`encode/${name}`, json);
    assert.equal(hex(again), hex(bytes), `${name}: ${json}`);
    assert.deepEqual(type.deserializeBinary(again).toObject(), message.toObject(), name);
}

// All classes of messages by their full names.
function classes(node, path) {
    const found = [];
    for (const [key, value] of Object.entries(node)) {
        if (typeof value === 'function' && typeof value.deserializeBinaryFromReader === 'function') {
            found.push([[...path, key].join('.'), value], ...classes(value, [...path, key]));
        } else if (value && typeof value === 'object' && /^[a-z]/.test(key)) {
            found.push(...classes(value, [...path, key]));
        }
    }
    return found;
}

// What the package's modules have imported from each other lies beside its packages.
const packages = Object.entries(globalThis.proto).filter(([name]) => /^[a-z]/.test(name) && name !== 'google');
const known = packages.flatMap(([name, content]) => classes(content, [name]));

// Fields whose bytes hold messages; those are filled by hand below.
const carriers = new Set([
    'common.BlockData.Data', 'common.ConfigSignature.SignatureHeader', 'common.ConfigUpdateEnvelope.ConfigUpdate',
    'common.ConfigUpdate.IsolatedData', 'common.Envelope.Payload', 'common.Header.ChannelHeader', 'common.Header.SignatureHeader',
    'common.SignatureHeader.Creator', 'common.Payload.Data', 'common.ChannelHeader.Extension$', 'common.Policy.Value',
    'common.MSPPrincipal.Principal', 'msp.MSPConfig.Config', 'orderer.ConsensusType.Metadata', 'protos.ChaincodeAction.Results',
    'protos.ChaincodeAction.Events', 'protos.ChaincodeActionPayload.ChaincodeProposalPayload',
    'protos.ChaincodeEndorsedAction.ProposalResponsePayload', 'protos.ChaincodeProposalPayload.Input',
    'protos.ProposalResponsePayload.Extension$', 'protos.TransactionAction.Header', 'protos.TransactionAction.Payload',
    'rwset.NsReadWriteSet.Rwset', 'rwset.CollectionHashedReadWriteSet.Rwset',
    // Only groups of a channel have values that are known.
    'common.ConfigGroup.Values', 'common.ConfigGroup.Groups',
]);

// What the package's own reader says about a message's fields.
function fieldsOf(name, type) {
    const cases = type.deserializeBinaryFromReader.toString().split(/case (\d+):/).slice(1);
    const fields = [];
    for (let at = 0; at < cases.length; at += 2) {
        const number = Number(cases[at]);
        const text = cases[at + 1].split('default:')[0];
        const map = text.match(/msg\.get(\w+)Map\(\)/);
        const put = text.match(/msg\.(set|add)([\w$]+)\(value/);
        const kind = text.match(/reader\.read(?:Packed)?(\w+)\(/)[1];
        const field = { number, kind, isMap: !!map, isList: put?.[1] === 'add', name: map?.[1] ?? put[2] };
        if (map) [, field.keyKind, field.valueKind] = text.match(/prototype\.read(\w+), jspb\.BinaryReader\.prototype\.read(\w+)/);
        if (!carriers.has(`${name}.${field.name}`)) fields.push(field);
    }
    return fields;
}

// The class of the messages in a field: what the package makes of an empty one.
function inner(type, field) {
    const empty = [...varint((field.number << 3) | 2), 0];
    if (field.isMap) {
        const [key, shown] = field.keyKind === 'String' ? [[10, 1, 97], 'a'] : [[8, 1], 1];
        const entry = [...varint((field.number << 3) | 2), key.length + 2, ...key, 18, 0];
        return type.deserializeBinary(Uint8Array.from(entry))[`get${field.name}Map`]().get(shown).constructor;
    }
    const message = type.deserializeBinary(Uint8Array.from(empty));
    return field.isList ? message[`get${field.name}List`]()[0].constructor : message[`get${field.name}`]().constructor;
}

function varint(number) {
    const bytes = [];
    for (; number > 127; number >>>= 7) bytes.push((number & 127) | 128);
    return [...bytes, number];
}

let count = 0;
const names = new Map(known.map(([name, type]) => [type, name]));

function scalar(kind) {
    count += 1;
    switch (kind) {
        case 'String': return `<text> & "${count}" \u2028 ü`;
        case 'Bytes': return Uint8Array.of(255, count & 255, 0);
        case 'Bool': return true;
        case 'Enum': return 1;
        case 'Int32': case 'Int64': return -count;
        case 'Uint64': return 2 ** 52 + count;
        default: return count;
    }
}

function filled(type, depth, only = () => true) {
    const message = new type();
    if (type === timestamp.Timestamp) {
        message.setSeconds(1_700_000_000 + ++count);
        message.setNanos((count % 3) * 1_500_000);
        return message;
    }
    const name = names.get(type);
    if (name === undefined) return message;
    for (const field of fieldsOf(name, type)) {
        const isMessage = (field.valueKind ?? field.kind) === 'Message';
        if (!only(field) || (isMessage && depth === 0)) continue;
        const value = () => (isMessage ? filled(inner(type, field), depth - 1) : scalar(field.valueKind ?? field.kind));
        if (field.isMap) {
            const keys = field.keyKind === 'String' ? ['a', 'b<', 'c'] : [1, 2, 3];
            for (const key of keys) message[`get${field.name}Map`]().set(key, value());
        } else if (field.isList) {
            message[`set${field.name}List`]([value(), value()]);
        } else {
            message[`set${field.name}`](value());
        }
    }
    return message;
}

test('every message goes to JSON and back to identical bytes, empty, with each field alone and with all', async () => {
    assert.ok(known.length > 200, `${known.length} messages`);
    for (const [name, type] of known) {
        await goesThrough(name, type, new type());
        await goesThrough(name, type, filled(type, 3));
        for (const field of fieldsOf(name, type)) {
            await goesThrough(name, type, filled(type, 2, (one) => one.number === field.number));
        }
    }
});

const make = (type, fields) => {
    const message = new type();
    for (const [field, value] of Object.entries(fields)) message[`set${field}`](value);
    return message;
};
const bytes = (type, fields) => make(type, fields).serializeBinary();

test('a transaction in a block is shown down to its writes, and comes back to identical bytes', async () => {
    const creator = bytes(msp.SerializedIdentity, { Mspid: 'Org1MSP', IdBytes: Uint8Array.of(1) });
    const signatureHeader = bytes(common.SignatureHeader, { Creator: creator, Nonce: Uint8Array.of(2) });
    const { rwset, kvrwset } = { rwset: ledger.rwset, kvrwset: ledger.rwset.kvrwset };
    const writes = make(kvrwset.KVRWSet, {
        WritesList: [make(kvrwset.KVWrite, { Key: 'color', Value: Uint8Array.of(98) })],
    });
    const set = new rwset.TxReadWriteSet();
    set.setNsRwsetList([make(rwset.NsReadWriteSet, { Namespace: 'kv', Rwset: writes.serializeBinary() })]);
    const action = bytes(peer.ChaincodeAction, { Results: set.serializeBinary() });
    const response = bytes(peer.ProposalResponsePayload, { Extension$: action });
    const endorsed = make(peer.ChaincodeEndorsedAction, { ProposalResponsePayload: response });
    const spec = bytes(peer.ChaincodeInvocationSpec, {});
    const payload = bytes(peer.ChaincodeActionPayload, {
        ChaincodeProposalPayload: bytes(peer.ChaincodeProposalPayload, { Input: spec }), Action: endorsed,
    });
    const transaction = new peer.Transaction();
    transaction.setActionsList([make(peer.TransactionAction, { Header: signatureHeader, Payload: payload })]);
    const now = new timestamp.Timestamp();
    now.setSeconds(1_700_000_000);
    const channelHeader = bytes(common.ChannelHeader, {
        Type: common.HeaderType.ENDORSER_TRANSACTION, ChannelId: 'health', Timestamp: now, TxId: 'tx',
    });
    const envelope = bytes(common.Envelope, {
        Payload: bytes(common.Payload, {
            Header: make(common.Header, { ChannelHeader: channelHeader, SignatureHeader: signatureHeader }),
            Data: transaction.serializeBinary(),
        }),
        Signature: Uint8Array.of(3),
    });
    const block = make(common.Block, {
        Header: make(common.BlockHeader, { Number: 7 }), Data: make(common.BlockData, { DataList: [envelope] }),
    });
    await goesThrough('common.Block', common.Block, block);
    const shown = JSON.parse(await post('decode/common.Block', block.serializeBinary()));
    const [{ payload: { header, data } }] = shown.data.data;
    assert.equal(header.channel_header.timestamp, '2023-11-14T22:13:20Z');
    assert.equal(header.signature_header.creator.mspid, 'Org1MSP');
    const { extension } = data.actions[0].payload.action.proposal_response_payload;
    const [written] = extension.results.ns_rwset[0].rwset.writes;
    assert.deepEqual(written, { is_delete: false, key: 'color', value: 'Yg==' });
});
