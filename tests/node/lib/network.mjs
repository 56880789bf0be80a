// The network under test: where its nodes listen and where its users' files lie.

import { readFileSync, readdirSync } from 'node:fs';
import { createPrivateKey } from 'node:crypto';
import path from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { connect, hash, signers } from '@hyperledger/fabric-gateway';

export const dir = process.env.NETWORK_DIR;
if (!dir) throw new Error('set NETWORK_DIR to the folder of a running network');
export const network = JSON.parse(readFileSync(path.join(dir, 'network.json'), 'utf8'));
export const channelName = network.channel;

export function organization(name) {
    const found = network.organizations.find((member) => member.name === name);
    if (!found) throw new Error(`no organization ${name}`);
    return found;
}

export function userDir(org, user) {
    const { domain } = organization(org);
    return path.join(dir, 'organizations', domain, 'users', `${user}@${domain}`);
}

const only = (folder) => path.join(folder, readdirSync(folder)[0]);

export function identity(org, user) {
    const msp = path.join(userDir(org, user), 'msp');
    return {
        mspId: organization(org).msp_id,
        credentials: readFileSync(only(path.join(msp, 'signcerts'))),
    };
}

export function signer(org, user) {
    const key = readFileSync(only(path.join(userDir(org, user), 'msp', 'keystore')));
    return signers.newPrivateKeySigner(createPrivateKey(key));
}

export function grpcClient(org, user = 'User1') {
    const tls = path.join(userDir(org, user), 'tls');
    const read = (file) => readFileSync(path.join(tls, file));
    const credentials = grpc.credentials.createSsl(read('ca.crt'), read('client.key'), read('client.crt'));
    return new grpc.Client(`localhost:${organization(org).ports.peer}`, credentials);
}

// SHA-256 over the DER of the client's TLS certificate: what a peer with mutual TLS binds
// deliver requests to.
export function tlsHash(org, user = 'User1') {
    const pem = readFileSync(path.join(userDir(org, user), 'tls', 'client.crt'), 'utf8');
    const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    return hash.sha256(der);
}

export function gateway(org, user = 'User1', options = {}) {
    const client = grpcClient(org, user);
    const connected = connect({
        client,
        identity: identity(org, user),
        signer: signer(org, user),
        hash: hash.sha256,
        tlsClientCertificateHash: tlsHash(org, user),
        evaluateOptions: () => ({ deadline: Date.now() + 20000 }),
        endorseOptions: () => ({ deadline: Date.now() + 20000 }),
        submitOptions: () => ({ deadline: Date.now() + 20000 }),
        commitStatusOptions: () => ({ deadline: Date.now() + 60000 }),
        ...options,
    });
    return {
        ...connected,
        getNetwork: (name) => connected.getNetwork(name),
        raw: connected,
        close() {
            connected.close();
            client.close();
        },
    };
}

// The certificate authority of an organization, and who may register others with it.
export function authority(org) {
    const { domain, ports } = organization(org);
    const home = path.join(dir, 'organizations', domain, 'ca');
    return {
        url: `https://localhost:${ports.ca}`,
        name: `ca-${org}`,
        root: readFileSync(path.join(home, 'ca-cert.pem'), 'utf8'),
        registrar: 'registrar',
        secret: readFileSync(path.join(home, 'registrar.secret'), 'utf8').trim(),
    };
}

export const text = (bytes) => Buffer.from(bytes).toString('utf8');
