// Who signs in and acts: people with certificates of their organization's authority, whose MSP folders
// are in the wallet of their organization's gateway.

import assert from 'node:assert/strict';
import { createPrivateKey, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { StatusCode, connect, hash, signers } from '@hyperledger/fabric-gateway';
import FabricCAServices from 'fabric-ca-client';
import { User, Utils } from 'fabric-common';
import { authority, channelName, gateway, grpcClient, network, organization, tlsHash, userDir } from '../../lib/network.mjs';

export const DAY = 86_400;
export const now = () => Math.floor(Date.now() / 1000);
export const day = (days = 0) => new Date(Date.now() + days * DAY * 1000).toISOString().slice(0, 10);
export const fresh = (name) => `${name}-${randomBytes(4).toString('hex')}`;
export const salt = () => randomBytes(16).toString('hex');
export const sha256 = (text) => Buffer.from(hash.sha256(Buffer.from(text))).toString('hex');
export const msp = (org) => organization(org).msp_id;

// The authorities start with everything else; three seconds are not always enough.
Utils.setConfigSetting('connection-timeout', 30_000);

const once = (make) => {
    const made = new Map();
    return (key) => {
        if (!made.has(key)) made.set(key, make(key));
        return made.get(key);
    };
};
const clientOf = once((org) => grpcClient(org));
const observerOf = once((org) => gateway(org));
const registrarOf = once(async (org) => {
    const { url, name, root, registrar, secret } = authority(org);
    const ca = new FabricCAServices(url, { trustedRoots: [root], verify: true }, name);
    const { certificate, key } = await ca.enroll({ enrollmentID: registrar, enrollmentSecret: secret });
    return { ca, admin: User.createUser(registrar, '', msp(org), certificate, key.toBytes()) };
});

export function disconnect() {
    for (const { name } of network.organizations) {
        clientOf(name).close();
        observerOf(name).close();
    }
}

export class Person {
    #enrolled;

    constructor(org, role, attributes = {}) {
        this.org = org;
        this.name = fresh(role);
        this.attributes = { 'hc.role': role, ...attributes };
    }

    // The file with the private key, which the page asks for.
    get keyFile() {
        return path.join(userDir(this.org, this.name), 'msp', 'keystore', 'key.pem');
    }

    get console() {
        return `https://localhost:${organization(this.org).ports.gateway}/console/`;
    }

    // Registered, enrolled and in the wallet.
    enrols() {
        this.#enrolled ??= this.#enrol();
        return this.#enrolled;
    }

    async #enrol() {
        const client = {
            client: clientOf(this.org),
            hash: hash.sha256,
            tlsClientCertificateHash: tlsHash(this.org),
        };
        const connects = (certificate, key) => connect({
            ...client,
            identity: { mspId: msp(this.org), credentials: Buffer.from(certificate) },
            signer: signers.newPrivateKeySigner(createPrivateKey(key)),
        });
        const folder = path.dirname(path.dirname(this.keyFile));
        const certificateFile = path.join(folder, 'signcerts', 'cert.pem');
        if (existsSync(certificateFile)) return connects(readFileSync(certificateFile), readFileSync(this.keyFile));
        const { ca, admin } = await registrarOf(this.org);
        const attrs = Object.entries(this.attributes).map(([name, value]) => ({ name, value, ecert: true }));
        const secret = await ca.register({ enrollmentID: this.name, role: 'client', maxEnrollments: 1, attrs }, admin);
        const { certificate, key } = await ca.enroll({ enrollmentID: this.name, enrollmentSecret: secret });
        for (const [file, text] of [
            [this.keyFile, key.toBytes()], [path.join(folder, 'cacerts', 'ca.pem'), authority(this.org).root], [certificateFile, certificate],
        ]) {
            mkdirSync(path.dirname(file), { recursive: true });
            writeFileSync(file, text, { mode: 0o600 });
        }
        return connects(certificate, key.toBytes());
    }

    // The answer of the contract, without a transaction.
    async asks(contract, name, args) {
        const connection = await this.enrols();
        const answer = await connection.getNetwork(channelName).getContract(contract).evaluateTransaction(name, JSON.stringify(args));
        return JSON.parse(Buffer.from(answer).toString('utf8'));
    }

    // Submits, waits until every peer has committed it, and gives the contract's answer. `at` are the
    // organizations whose peers endorse.
    async does(contract, name, args, { transient = {}, at } = {}) {
        const connection = await this.enrols();
        try {
            const transaction = await connection.getNetwork(channelName).getContract(contract).newProposal(name, {
                arguments: [JSON.stringify(args)],
                transientData: Object.fromEntries(Object.entries(transient).map(([key, value]) => [key, JSON.stringify(value)])),
                ...(at && { endorsingOrganizations: at.map(msp) }),
            }).endorse();
            const commit = await transaction.submit();
            // Signed by this person the first time; the other peers answer the same request.
            await commit.getStatus();
            const bytes = commit.getBytes();
            const statuses = network.organizations.map((one) => observerOf(one.name).raw.newCommit(bytes).getStatus());
            for (const { code } of await Promise.all(statuses)) assert.equal(code, StatusCode.VALID);
            return JSON.parse(Buffer.from(transaction.getResult()).toString('utf8'));
        } catch (error) {
            const details = (error.details ?? []).map(({ mspId, message }) => `${mspId} ${message}`);
            throw new Error([`${contract} ${name}: ${error.message}`, ...details].join('\n'), { cause: error });
        }
    }
}
