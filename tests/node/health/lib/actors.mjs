// Who acts in the stories: people with certificates of their organization's authority, each with the
// gateway of their own peer, by npm's SDK.

import assert from 'node:assert/strict';
import { status as grpcStatus } from '@grpc/grpc-js';
import { EndorseError, GatewayError, StatusCode } from '@hyperledger/fabric-gateway';
import { common, gateway as gatewayMessages, peer } from '@hyperledger/fabric-protos';
import { connected, enrol, msp, statuses, told } from '../../lib/members.mjs';
import { channelName } from '../../lib/network.mjs';
import { fresh } from '../../lib/numbers.mjs';

// What was committed, in order; `story.mjs` compares it with what the peers tell.
export const committed = [];

export class Actor {
    #connected;

    constructor(org, role, attributes = {}) {
        this.org = org;
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
        const name = fresh(this.attributes['hc.role'] ?? 'user');
        return connected(this.org, await enrol(this.org, name, this.attributes));
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
    for (const status of await statuses(commit)) assert.equal(status.code, code);
    if (code === StatusCode.VALID && !silent) committed.push({ contract, name, transactionId, blockNumber });
    return code;
}

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
