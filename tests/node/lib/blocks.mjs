// The newest block of a peer or an orderer, over Fabric's Deliver service.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as grpc from '@grpc/grpc-js';
import timestamp from 'google-protobuf/google/protobuf/timestamp_pb.js';
import { common, msp, orderer, peer } from '@hyperledger/fabric-protos';
import { hash } from '@hyperledger/fabric-gateway';
import { channelName, identity, organization, signer, tlsHash, userDir } from './network.mjs';

const services = {
    orderer: { method: '/orderer.AtomicBroadcast/Deliver', response: orderer.DeliverResponse },
    peer: { method: '/protos.Deliver/Deliver', response: peer.DeliverResponse },
};

// The number of the newest block and its encoded header fields, which fix the whole chain.
// `kind` is 'orderer' or 'peer'. Rejects after ten seconds.
export async function newestHeader(org, kind) {
    const { method, response } = services[kind];
    const envelope = await seekNewest(org);
    const tls = path.join(userDir(org, 'User1'), 'tls');
    const read = (file) => readFileSync(path.join(tls, file));
    const credentials = grpc.credentials.createSsl(read('ca.crt'), read('client.key'), read('client.crt'));
    const client = new grpc.Client(`localhost:${organization(org).ports[kind]}`, credentials, {
        'grpc.max_receive_message_length': -1,
    });
    try {
        return await new Promise((resolve, reject) => {
            const stream = client.makeBidiStreamRequest(
                method,
                (message) => Buffer.from(message.serializeBinary()),
                (bytes) => response.deserializeBinary(bytes),
                { deadline: Date.now() + 10000 },
            );
            stream.on('error', reject);
            stream.on('end', () => reject(new Error(`${kind} of ${org} sent no block`)));
            stream.on('data', (message) => {
                const header = message.getBlock()?.getHeader();
                if (!header) {
                    reject(new Error(`${kind} of ${org} answered status ${message.getStatus()}`));
                    return;
                }
                const hex = (bytes) => Buffer.from(bytes).toString('hex');
                resolve(`${header.getNumber()} ${hex(header.getPreviousHash_asU8())} ${hex(header.getDataHash_asU8())}`);
            });
            stream.write(envelope);
            stream.end();
        });
    } finally {
        client.close();
    }
}

async function seekNewest(org) {
    const { mspId, credentials } = identity(org, 'User1');
    const creator = new msp.SerializedIdentity();
    creator.setMspid(mspId);
    creator.setIdBytes(credentials);
    const channelHeader = new common.ChannelHeader();
    channelHeader.setType(common.HeaderType.DELIVER_SEEK_INFO);
    channelHeader.setChannelId(channelName);
    channelHeader.setTlsCertHash(tlsHash(org));
    const now = new timestamp.Timestamp();
    now.fromDate(new Date());
    channelHeader.setTimestamp(now);
    const signatureHeader = new common.SignatureHeader();
    signatureHeader.setCreator(creator.serializeBinary());
    signatureHeader.setNonce(randomBytes(24));
    const header = new common.Header();
    header.setChannelHeader(channelHeader.serializeBinary());
    header.setSignatureHeader(signatureHeader.serializeBinary());
    const newest = new orderer.SeekPosition();
    newest.setNewest(new orderer.SeekNewest());
    const seek = new orderer.SeekInfo();
    seek.setStart(newest);
    seek.setStop(newest);
    seek.setBehavior(orderer.SeekInfo.SeekBehavior.FAIL_IF_NOT_READY);
    const payload = new common.Payload();
    payload.setHeader(header);
    payload.setData(seek.serializeBinary());
    const envelope = new common.Envelope();
    envelope.setPayload(payload.serializeBinary());
    envelope.setSignature(await signer(org, 'User1')(hash.sha256(payload.serializeBinary())));
    return envelope;
}
