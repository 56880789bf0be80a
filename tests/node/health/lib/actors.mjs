// Who acts in the stories: people with certificates of their organization's authority, each with the
// gateway of their own peer, by npm's SDK.

import assert from 'node:assert/strict';
import { createPrivateKey, randomBytes } from 'node:crypto';
import { status as grpcStatus } from '@grpc/grpc-js';
import { EndorseError, GatewayError, StatusCode, connect, hash, signers } from '@hyperledger/fabric-gateway';
import { common, gateway as gatewayMessages, peer } from '@hyperledger/fabric-protos';
import FabricCAServices from 'fabric-ca-client';
import { User, Utils } from 'fabric-common';
import { authority, channelName, gateway, grpcClient, network, organization, tlsHash } from '../../lib/network.mjs';

const PATIENCE = 30_000;
// The authority is on a machine that does many other things; three seconds are the client's default.
Utils.setConfigSetting('connection-timeout', PATIENCE);

// A random id, so that a story finds nothing of an earlier one.
export const fresh = (name) => `${name}-${randomBytes(6).toString('hex')}`;
export const salt = () => randomBytes(16).toString('hex');
export const now = () => Math.floor(Date.now() / 1000);
export const DAY = 86_400;
// The day so many days from now, as `YYYY-MM-DD`.
export const day = (days = 0) => new Date(Date.now() + days * DAY * 1000).toISOString().slice(0, 10);
// SHA-256 in hexadecimal digits.
export const sha256 = (bytes) => Buffer.from(hash.sha256(Buffer.from(bytes))).toString('hex');
// A pseudonym of nobody: 26 characters of base32.
export const pseudonym = () => [...randomBytes(26)].map((byte) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[byte & 31]).join('');
export const msp = (org) => organization(org).msp_id;

// What was committed, in order; `story.mjs` compares it with what the peers tell.
export const committed = [];

const once = (make) => {
    const made = new Map();
    return (key) => {
        if (!made.has(key)) made.set(key, make(key));
        return made.get(key);
    };
};

const registrarOf = once(async (org) => {
    const { url, name, root, registrar, secret } = authority(org);
    const ca = new FabricCAServices(url, { trustedRoots: [root], verify: true }, name);
    const { certificate, key } = await ca.enroll({ enrollmentID: registrar, enrollmentSecret: secret });
    return { ca, admin: User.createUser(registrar, '', msp(org), certificate, key.toBytes()) };
});

const clientOf = once((org) => grpcClient(org));
// One client of each organization, who waits until its peer has committed what another's client sent.
const observerOf = once((org) => gateway(org));

// Ends every connection, so that the process can end.
export function disconnect() {
    for (const { name } of network.organizations) {
        clientOf(name).close();
        observerOf(name).close();
    }
}

export class Actor {
    #connected;

    constructor(org, role, attributes = {}) {
        this.org = org;
        this.mspId = msp(org);
        this.attributes = { ...(role && { 'hc.role': role }), ...attributes };
    }

    get pid() {
        return this.attributes['hc.pid'];
    }

    // Registered and enrolled the first time that this person does something.
    connection() {
        this.#connected ??= this.#enrol();
        return this.#connected;
    }

    async #enrol() {
        const { ca, admin } = await registrarOf(this.org);
        const id = fresh(this.attributes['hc.role'] ?? 'user');
        const attrs = Object.entries(this.attributes).map(([name, value]) => ({ name, value, ecert: true }));
        const secret = await ca.register({ enrollmentID: id, role: 'client', maxEnrollments: 1, attrs }, admin);
        const { certificate, key } = await ca.enroll({ enrollmentID: id, enrollmentSecret: secret });
        const deadline = () => ({ deadline: Date.now() + PATIENCE });
        return connect({
            client: clientOf(this.org),
            identity: { mspId: this.mspId, credentials: Buffer.from(certificate) },
            signer: signers.newPrivateKeySigner(createPrivateKey(key.toBytes())),
            hash: hash.sha256,
            tlsClientCertificateHash: tlsHash(this.org),
            evaluateOptions: deadline,
            endorseOptions: deadline,
            submitOptions: deadline,
            commitStatusOptions: () => ({ deadline: Date.now() + 60_000 }),
        });
    }

    // A proposal that is not signed yet. `transient` are values by name, JSON unless they are text;
    // `at` are the organizations whose peers endorse, by short name; `ahead` is how many seconds the
    // client's clock is ahead.
    async proposal(contract, name, args, { transient = {}, requestId, at, ahead } = {}) {
        const connection = await this.connection();
        const transientData = Object.fromEntries(
            Object.entries(transient).map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)]),
        );
        const proposal = connection.getNetwork(channelName).getContract(contract).newProposal(name, {
            arguments: [JSON.stringify(args), ...(requestId ? [requestId] : [])],
            transientData,
            ...(at && { endorsingOrganizations: at.map(msp) }),
        });
        return ahead ? connection.newProposal(dated(proposal.getBytes(), ahead)) : proposal;
    }

    // The answer of the contract, without a transaction.
    async asks(contract, name, args = {}, options = {}) {
        const proposal = await this.proposal(contract, name, args, options);
        return parse(await proposal.evaluate());
    }

    // What everybody has to endorse is endorsed; it is not sent yet.
    async endorses(contract, name, args = {}, options = {}) {
        const proposal = await this.proposal(contract, name, args, options);
        return { contract, name, transaction: await proposal.endorse() };
    }

    // Submits, waits until every peer has committed it, and gives the contract's answer.
    async does(contract, name, args = {}, options = {}) {
        const endorsed = await this.endorses(contract, name, args, options).catch((error) => {
            throw new Error(`${contract} ${name}: ${told(error)}`, { cause: error });
        });
        const code = await commits(endorsed, options);
        assert.equal(code, StatusCode.VALID, `${contract} ${name} was committed as ${nameOf(code)}`);
        return parse(endorsed.transaction.getResult());
    }

    // The contract refuses to endorse, with this status and code: nothing is ordered.
    async isRefused(contract, name, args, status, code, options = {}) {
        await assert.rejects(
            this.endorses(contract, name, args, options),
            refusal(`${contract} ${name}`, EndorseError, grpcStatus.ABORTED, status, code),
        );
    }

    // As isRefused, of a question.
    async isNotAnswered(contract, name, args, status, code, options = {}) {
        await assert.rejects(
            this.asks(contract, name, args, options),
            refusal(`${contract} ${name}`, GatewayError, grpcStatus.UNKNOWN, status, code),
        );
    }
}

const nameOf = (code) => Object.keys(StatusCode).find((name) => StatusCode[name] === code) ?? code;
const parse = (bytes) => (bytes.length === 0 ? undefined : JSON.parse(Buffer.from(bytes).toString('utf8')));

// Sends what is endorsed; the validation code that all peers agree on.
export async function commits({ contract, name, transaction }, { silent = false } = {}) {
    const commit = await transaction.submit();
    const { code, blockNumber, transactionId } = await commit.getStatus();
    const elsewhere = network.organizations.map(({ name: org }) => observerOf(org).raw.newCommit(commit.getBytes()).getStatus());
    for (const status of await Promise.all(elsewhere)) assert.equal(status.code, code);
    if (code === StatusCode.VALID && !silent) committed.push({ contract, name, transactionId, blockNumber });
    return code;
}

// What the SDK says, with what each peer said.
const told = (error) => [error.message, ...(error.details ?? []).map(({ mspId, message }) => `${mspId} ${message}`)].join('\n');

// The contract's own status and code, where the SDK shows them: in the details of an endorsement, by
// peer, or in the message of an evaluation.
function refusal(what, kind, grpcCode, status, code) {
    return (error) => {
        assert.ok(error instanceof kind, `${what}: ${error}`);
        const text = told(error);
        const found = text.match(/chaincode response (\d+), ([A-Z_0-9]+): \S/);
        assert.ok(found, `${what}: not a refusal of the contract: ${text}`);
        assert.deepEqual([Number(found[1]), found[2]], [status, code], `${what}: ${text}`);
        assert.equal(error.code, grpcCode, `${what}: ${text}`);
        return true;
    };
}

// The same proposal by a client whose clock is ahead (or behind) by so many seconds.
function dated(bytes, ahead) {
    const proposed = gatewayMessages.ProposedTransaction.deserializeBinary(bytes);
    const signed = proposed.getProposal();
    const proposal = peer.Proposal.deserializeBinary(signed.getProposalBytes_asU8());
    const header = common.Header.deserializeBinary(proposal.getHeader_asU8());
    const channelHeader = common.ChannelHeader.deserializeBinary(header.getChannelHeader_asU8());
    const timestamp = channelHeader.getTimestamp();
    timestamp.setSeconds(timestamp.getSeconds() + ahead);
    header.setChannelHeader(channelHeader.serializeBinary());
    proposal.setHeader(header.serializeBinary());
    signed.setProposalBytes(proposal.serializeBinary());
    return proposed.serializeBinary();
}

// Asks until `question` has an answer other than undefined: private data reaches members that did not
// endorse a moment after the block.
export async function eventually(question) {
    const until = Date.now() + 15_000;
    for (;;) {
        try {
            return await question();
        } catch (error) {
            if (Date.now() > until) throw error;
        }
        await new Promise((resolve) => { setTimeout(resolve, 200); });
    }
}
