// A chaincode service that speaks the shim protocol byte by byte, so that it can speak it wrongly.

import * as grpc from '@grpc/grpc-js';
import { peer } from '@hyperledger/fabric-protos';

const { Type } = peer.ChaincodeMessage;
export { Type };

export function message(type, { txid = '', channel = '', payload = new Uint8Array() } = {}) {
    const made = new peer.ChaincodeMessage();
    made.setType(type);
    made.setTxid(txid);
    made.setChannelId(channel);
    made.setPayload(payload);
    return Buffer.from(made.serializeBinary());
}

export function completed(call, payload = 'fine') {
    const response = new peer.Response();
    response.setStatus(200);
    response.setPayload(Buffer.from(payload));
    return message(Type.COMPLETED, { ...call, payload: response.serializeBinary() });
}

const registration = (ccid) => {
    const id = new peer.ChaincodeID();
    id.setName(ccid);
    return message(Type.REGISTER, { payload: id.serializeBinary() });
};

// Serves at the port. `behave(function, call, stream, args)` is called for every transaction; `call`
// has its txid and channel; what is written to the stream are encoded messages. Requests are
// answered to nobody.
export async function serve(port, ccid, behave, register = registration) {
    const server = new grpc.Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 });
    const bytes = (buffer) => buffer;
    server.addService({
        Connect: {
            path: '/protos.Chaincode/Connect',
            requestStream: true,
            responseStream: true,
            requestDeserialize: bytes,
            requestSerialize: bytes,
            responseDeserialize: bytes,
            responseSerialize: bytes,
        },
    }, {
        Connect(stream) {
            stream.on('error', () => {});
            stream.on('data', (buffer) => {
                const received = peer.ChaincodeMessage.deserializeBinary(buffer);
                if (received.getType() !== Type.TRANSACTION) return;
                const input = peer.ChaincodeInput.deserializeBinary(received.getPayload_asU8());
                const [name, ...args] = input.getArgsList_asU8().map((arg) => Buffer.from(arg).toString());
                behave(name, { txid: received.getTxid(), channel: received.getChannelId() }, stream, args);
            });
            stream.on('end', () => stream.end());
            stream.write(register(ccid));
        },
    });
    await new Promise((resolve, reject) => {
        server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error) => (error ? reject(error) : resolve()));
    });
    return server;
}
