// Clients of the gateway SDK that submit one transaction after the other until their input ends. Each
// transaction is one line of JSON on stdout. tests/ordering/sdk starts it: `node load.mjs load.json`.

import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import * as grpc from '@grpc/grpc-js';
import { GatewayError, connect, hash, signers } from '@hyperledger/fabric-gateway';

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const within = (milliseconds) => () => ({ deadline: Date.now() + milliseconds });
let running = true;
process.stdin.resume().on('end', () => { running = false; });

const work = config.gateways.flatMap((gateway, at) => {
    const client = new grpc.Client(gateway.address, grpc.credentials.createSsl(
        Buffer.from(gateway.tlsRoot), Buffer.from(gateway.tlsKey), Buffer.from(gateway.tlsCertificate),
    ));
    const connected = connect({
        client,
        identity: { mspId: gateway.mspId, credentials: Buffer.from(gateway.certificate) },
        signer: signers.newPrivateKeySigner(createPrivateKey(gateway.key)),
        hash: hash.sha256,
        endorseOptions: within(config.endorseTimeout),
        submitOptions: within(config.submitTimeout),
        commitStatusOptions: within(config.commitTimeout),
    });
    const contract = connected.getNetwork(config.channel).getContract(config.chaincode);
    return Array.from({ length: config.clients }, (_, number) => submit(contract, `node ${at}.${number}`));
});
await Promise.all(work);
process.exit(0);

async function submit(contract, prefix) {
    for (let sequence = 0; running; sequence += 1) {
        const outcome = await transact(contract, `${prefix}.${sequence}`);
        process.stdout.write(`${JSON.stringify(outcome)}\n`);
        await pause(outcome.failed ? config.pause : config.pace);
    }
}

async function transact(contract, key) {
    const outcome = { id: '', acknowledged: false, failed: 'endorse', code: grpc.status.OK, message: '' };
    try {
        const proposal = contract.newProposal('put', { arguments: [key, key] });
        outcome.id = proposal.getTransactionId();
        const transaction = await proposal.endorse();
        outcome.failed = 'submit';
        const commit = await transaction.submit();
        outcome.acknowledged = true;
        outcome.failed = 'commit status';
        const status = await commit.getStatus();
        outcome.failed = status.successful ? '' : 'commit';
        outcome.message = status.successful ? '' : `validation code ${status.code}`;
    } catch (error) {
        // Anything but the SDK's own errors is UNKNOWN, and never to be retried.
        outcome.code = error instanceof GatewayError ? error.code : grpc.status.UNKNOWN;
        outcome.message = error.message;
    }
    return outcome;
}
