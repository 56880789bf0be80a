// Who calls: people whom their organization's authority knows, each with a key in the wallet of the
// organization's gateway.

import { createHmac, createPrivateKey, randomBytes, randomUUID, sign } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { CommitError, StatusCode, connect, hash, signers } from '@hyperledger/fabric-gateway';
import FabricCAServices from 'fabric-ca-client';
import { User, Utils } from 'fabric-common';
import { authority, channelName, dir, grpcClient, organization, tlsHash, userDir } from '../../lib/network.mjs';

// The authority is on a machine that does many other things; three seconds are the client's default.
Utils.setConfigSetting('connection-timeout', 30_000);

export const fresh = (name) => `${name}-${randomBytes(6).toString('hex')}`;
export const msp = (org) => organization(org).msp_id;

// What a gateway computes of an identifier, docs/integrator.md.
export function pseudonym(type, number) {
    const key = Buffer.from(readFileSync(path.join(dir, 'channel', 'pseudonym.key'), 'utf8').trim(), 'hex');
    const mac = createHmac('sha256', key).update(`${type}\x1f${number}`).digest();
    const bits = [...mac].map((byte) => byte.toString(2).padStart(8, '0')).join('');
    return bits.match(/.{5}/g).slice(0, 26).map((five) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[parseInt(five, 2)]).join('');
}

const registrars = new Map();

function registrarOf(org) {
    if (!registrars.has(org)) {
        const { url, name, root, registrar, secret } = authority(org);
        const ca = new FabricCAServices(url, { trustedRoots: [root], verify: true }, name);
        registrars.set(org, ca.enroll({ enrollmentID: registrar, enrollmentSecret: secret }).then(({ certificate, key }) => (
            { ca, admin: User.createUser(registrar, '', msp(org), certificate, key.toBytes()) }
        )));
    }
    return registrars.get(org);
}

// Registers and enrols somebody, and puts the MSP folder into the wallet.
export async function person(org, role, attributes = {}) {
    const { ca, admin } = await registrarOf(org);
    const name = fresh(role);
    const attrs = Object.entries({ 'hc.role': role, ...attributes }).map(([key, value]) => ({ name: key, value, ecert: true }));
    const secret = await ca.register({ enrollmentID: name, role: 'client', maxEnrollments: 1, attrs }, admin);
    const { certificate, key } = await ca.enroll({ enrollmentID: name, enrollmentSecret: secret });
    const { domain } = organization(org);
    const folder = path.join(dir, 'organizations', domain, 'users', `${name}@${domain}`, 'msp');
    mkdirSync(path.join(folder, 'signcerts'), { recursive: true });
    mkdirSync(path.join(folder, 'keystore'));
    for (const part of ['cacerts', 'tlscacerts', 'config.yaml']) {
        cpSync(path.join(userDir(org, 'User1'), 'msp', part), path.join(folder, part), { recursive: true });
    }
    writeFileSync(path.join(folder, 'signcerts', 'cert.pem'), certificate);
    writeFileSync(path.join(folder, 'keystore', 'key_sk'), key.toBytes());
    return new Person(org, name, certificate, key.toBytes());
}

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

// A signed assertion; `key` is whose key signs it.
export function assertion(claims, key) {
    const signed = `${part({ alg: 'ES256', typ: 'JWT' })}.${part(claims)}`;
    const signature = sign('sha256', Buffer.from(signed), { key: createPrivateKey(key), dsaEncoding: 'ieee-p1363' });
    return `${signed}.${signature.toString('base64url')}`;
}

// With what each peer says, which the SDK keeps apart.
function told(error) {
    error.message += (error.details ?? []).map(({ mspId, message }) => `\n${mspId}: ${message}`).join('');
    return error;
}

export const gatewayOf = (org) => `https://localhost:${organization(org).ports.gateway}`;

export const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;

export class Person {
    constructor(org, name, certificate, key) {
        Object.assign(this, { org, name, certificate, key });
    }

    get endpoint() {
        return `${gatewayOf(this.org)}/oauth2/token`;
    }

    claims(changed = {}) {
        return { iss: this.name, sub: this.name, aud: this.endpoint, exp: inSeconds(240), jti: randomUUID(), ...changed };
    }

    // The answer of the token endpoint.
    async asks(changed = {}) {
        const answer = await fetch(this.endpoint, {
            method: 'POST',
            body: new URLSearchParams({
                grant_type: 'client_credentials',
                client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
                client_assertion: changed.client_assertion ?? assertion(this.claims(), this.key),
                scope: 'user/*.cruds',
                ...changed,
            }),
        });
        return { status: answer.status, headers: answer.headers, body: await answer.json() };
    }

    async token({ scope = 'user/*.cruds', purpose = '' } = {}) {
        const { status, body } = await this.asks({ scope, purpose_of_use: purpose });
        if (status !== 200) throw new Error(`no token for ${this.name}: ${JSON.stringify(body)}`);
        return body.access_token;
    }

    // The same person as a client of the peer, by Fabric's SDK; to be closed.
    sdk() {
        const client = grpcClient(this.org);
        const deadline = () => ({ deadline: Date.now() + 30_000 });
        const connected = connect({
            client,
            identity: { mspId: msp(this.org), credentials: Buffer.from(this.certificate) },
            signer: signers.newPrivateKeySigner(createPrivateKey(this.key)),
            hash: hash.sha256,
            tlsClientCertificateHash: tlsHash(this.org),
            evaluateOptions: deadline,
            endorseOptions: deadline,
            submitOptions: deadline,
            commitStatusOptions: () => ({ deadline: Date.now() + 60_000 }),
        });
        const contract = (name) => connected.getNetwork(channelName).getContract(name);
        return {
            contract,
            // What was endorsed by a peer that is a moment behind is in conflict, and asked for again.
            async does(name, call, args, { transient = {}, attempts = 20 } = {}) {
                try {
                    const answer = await contract(name).submit(call, { arguments: [JSON.stringify(args)], transientData: transient });
                    return answer.length ? JSON.parse(Buffer.from(answer)) : undefined;
                } catch (error) {
                    const again = [StatusCode.MVCC_READ_CONFLICT, StatusCode.PHANTOM_READ_CONFLICT].includes(error.code);
                    if (!(error instanceof CommitError && again && attempts > 1)) throw told(error);
                    await new Promise((resolve) => { setTimeout(resolve, 200); });
                    return this.does(name, call, args, { transient, attempts: attempts - 1 });
                }
            },
            close() {
                connected.close();
                client.close();
            },
        };
    }
}

