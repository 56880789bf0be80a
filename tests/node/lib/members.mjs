// Members of organizations: registered and enrolled at the authority with npm's client of it, and clients
// of their organization's peer.

import { createPrivateKey } from 'node:crypto';
import { connect, hash, signers } from '@hyperledger/fabric-gateway';
import FabricCAServices from 'fabric-ca-client';
import { User, Utils } from 'fabric-common';
import { authority, gateway, grpcClient, network, organization, tlsHash } from './network.mjs';

const PATIENCE = 30_000;
// The authority is on a machine that does many other things; three seconds are the client's default.
Utils.setConfigSetting('connection-timeout', PATIENCE);

export const msp = (org) => organization(org).msp_id;

const once = (make) => {
    const made = new Map();
    const of = (key) => {
        if (!made.has(key)) made.set(key, make(key));
        return made.get(key);
    };
    of.made = () => made.values();
    return of;
};

const registrarOf = once(async (org) => {
    const { url, name, root, registrar, secret } = authority(org);
    const ca = new FabricCAServices(url, { trustedRoots: [root], verify: true }, name);
    const { certificate, key } = await ca.enroll({ enrollmentID: registrar, enrollmentSecret: secret });
    return { ca, admin: User.createUser(registrar, '', msp(org), certificate, key.toBytes()) };
});

// Registers and enrols somebody with these attributes; certificate and private key in PEM.
export async function enrol(org, name, attributes) {
    const { ca, admin } = await registrarOf(org);
    const attrs = Object.entries(attributes).map(([key, value]) => ({ name: key, value, ecert: true }));
    const secret = await ca.register({ enrollmentID: name, role: 'client', maxEnrollments: 1, attrs }, admin);
    const { certificate, key } = await ca.enroll({ enrollmentID: name, enrollmentSecret: secret });
    return { certificate, key: key.toBytes() };
}

const clientOf = once((org) => grpcClient(org));
// One client of each organization, who waits until its peer has committed what another's client sent.
const observerOf = once((org) => gateway(org));

// Ends every connection, so that the process can end.
export function disconnect() {
    for (const one of [...clientOf.made(), ...observerOf.made()]) one.close();
}

// Somebody's gateway at the peer of their organization, by a client that `disconnect` ends, or one's own.
export function connected(org, { certificate, key }, client = clientOf(org)) {
    const deadline = () => ({ deadline: Date.now() + PATIENCE });
    return connect({
        client,
        identity: { mspId: msp(org), credentials: Buffer.from(certificate) },
        signer: signers.newPrivateKeySigner(createPrivateKey(key)),
        hash: hash.sha256,
        tlsClientCertificateHash: tlsHash(org),
        evaluateOptions: deadline,
        endorseOptions: deadline,
        submitOptions: deadline,
        commitStatusOptions: () => ({ deadline: Date.now() + 60_000 }),
    });
}

// What every peer made of a commit, whose own status was asked for before: then it is signed, and the
// other peers answer the same request.
export function statuses(commit) {
    const bytes = commit.getBytes();
    return Promise.all(network.organizations.map(({ name }) => observerOf(name).raw.newCommit(bytes).getStatus()));
}

// What the SDK says, with what each peer said, which it keeps apart.
export const told = (error) => [error.message, ...(error.details ?? []).map(({ mspId, message }) => `${mspId} ${message}`)].join('\n');

// Asks again until it is answered without an error: another organization's peer may be a moment behind,
// and private data reaches members that did not endorse a moment after the block.
export async function eventually(question, seconds = 15) {
    const until = Date.now() + seconds * 1000;
    for (;;) {
        try {
            return await question();
        } catch (error) {
            if (Date.now() > until) throw error;
        }
        await new Promise((resolve) => { setTimeout(resolve, 200); });
    }
}
