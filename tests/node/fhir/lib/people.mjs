// Who calls: people whom their organization's authority knows, each with a key in the wallet of the
// organization's gateway.

import { createPrivateKey, randomUUID, sign } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { CommitError, StatusCode } from '@hyperledger/fabric-gateway';
import { connected, enrol, told } from '../../lib/members.mjs';
import { channelName, dir, grpcClient, organization, userDir } from '../../lib/network.mjs';
import { fresh, now, pseudonymOf } from '../../lib/numbers.mjs';

// What a gateway computes of an identifier, docs/integrator.md.
export function pseudonym(type, number) {
    return pseudonymOf(readFileSync(path.join(dir, 'channel', 'pseudonym.key'), 'utf8').trim(), type, number);
}

// Registers and enrols somebody, and puts the MSP folder into the wallet.
export async function person(org, role, attributes = {}) {
    const name = fresh(role);
    const { certificate, key } = await enrol(org, name, { 'hc.role': role, ...attributes });
    const { domain } = organization(org);
    const folder = path.join(dir, 'organizations', domain, 'users', `${name}@${domain}`, 'msp');
    mkdirSync(path.join(folder, 'signcerts'), { recursive: true });
    mkdirSync(path.join(folder, 'keystore'));
    for (const part of ['cacerts', 'tlscacerts', 'config.yaml']) {
        cpSync(path.join(userDir(org, 'User1'), 'msp', part), path.join(folder, part), { recursive: true });
    }
    writeFileSync(path.join(folder, 'signcerts', 'cert.pem'), certificate);
    writeFileSync(path.join(folder, 'keystore', 'key_sk'), key);
    return new Person(org, name, certificate, key);
}

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

// A signed assertion; `key` is whose key signs it.
export function assertion(claims, key) {
    const signed = `${part({ alg: 'ES256', typ: 'JWT' })}.${part(claims)}`;
    const signature = sign('sha256', Buffer.from(signed), { key: createPrivateKey(key), dsaEncoding: 'ieee-p1363' });
    return `${signed}.${signature.toString('base64url')}`;
}

export const gatewayOf = (org) => `https://localhost:${organization(org).ports.gateway}`;

export const inSeconds = (seconds) => now() + seconds;

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
        const gateway = connected(this.org, this, client);
        const contract = (name) => gateway.getNetwork(channelName).getContract(name);
        return {
            contract,
            // What was endorsed by a peer that is a moment behind is in conflict, and asked for again.
            async does(name, call, args, { transient = {}, attempts = 20 } = {}) {
                try {
                    const answer = await contract(name).submit(call, { arguments: [JSON.stringify(args)], transientData: transient });
                    return answer.length ? JSON.parse(Buffer.from(answer)) : undefined;
                } catch (error) {
                    const again = [StatusCode.MVCC_READ_CONFLICT, StatusCode.PHANTOM_READ_CONFLICT].includes(error.code);
                    if (!(error instanceof CommitError && again && attempts > 1)) {
                        error.message = told(error);
                        throw error;
                    }
                    await new Promise((resolve) => { setTimeout(resolve, 200); });
                    return this.does(name, call, args, { transient, attempts: attempts - 1 });
                }
            },
            close() {
                gateway.close();
                client.close();
            },
        };
    }
}

