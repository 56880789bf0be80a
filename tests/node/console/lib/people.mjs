// Who signs in and acts: people with certificates of their organization's authority, whose MSP folders
// are in the wallet of their organization's gateway.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { StatusCode } from '@hyperledger/fabric-gateway';
import { connected, enrol, msp, statuses, told } from '../../lib/members.mjs';
import { authority, channelName, organization, userDir } from '../../lib/network.mjs';
import { fresh } from '../../lib/numbers.mjs';

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
        const folder = path.dirname(path.dirname(this.keyFile));
        const certificateFile = path.join(folder, 'signcerts', 'cert.pem');
        if (existsSync(certificateFile)) {
            return connected(this.org, { certificate: readFileSync(certificateFile), key: readFileSync(this.keyFile) });
        }
        const member = await enrol(this.org, this.name, this.attributes);
        for (const [file, text] of [
            [this.keyFile, member.key], [path.join(folder, 'cacerts', 'ca.pem'), authority(this.org).root], [certificateFile, member.certificate],
        ]) {
            mkdirSync(path.dirname(file), { recursive: true });
            writeFileSync(file, text, { mode: 0o600 });
        }
        return connected(this.org, member);
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
            await commit.getStatus();
            for (const { code } of await statuses(commit)) assert.equal(code, StatusCode.VALID);
            return JSON.parse(Buffer.from(transaction.getResult()).toString('utf8'));
        } catch (error) {
            throw new Error(`${contract} ${name}: ${told(error)}`, { cause: error });
        }
    }
}
