// An application that goes on while the consortium changes: one transaction after the other through the
// gateways of several peers, each tried again until it is committed. `node load.mjs load.json`; ends when
// its input ends, with a failure if some transaction was never committed.

import { createPrivateKey } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const require = createRequire(new URL('../node/package.json', import.meta.url));
const grpc = require('@grpc/grpc-js');
const { connect, hash, signers } = require('@hyperledger/fabric-gateway');

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const only = (folder) => path.join(folder, readdirSync(folder)[0]);
const within = (milliseconds) => () => ({ deadline: Date.now() + milliseconds });
// A new transaction may be tried this often before an application's people are called.
const PATIENCE = 60_000;

const contracts = config.gateways.map((gateway) => connect({
    client: new grpc.Client(gateway.address, grpc.credentials.createSsl(readFileSync(gateway.tlsRoot))),
    identity: { mspId: gateway.mspId, credentials: readFileSync(only(path.join(gateway.msp, 'signcerts'))) },
    signer: signers.newPrivateKeySigner(createPrivateKey(readFileSync(only(path.join(gateway.msp, 'keystore'))))),
    hash: hash.sha256,
    endorseOptions: within(10_000),
    submitOptions: within(10_000),
    commitStatusOptions: within(20_000),
}).getNetwork(config.channel).getContract(config.chaincode));

let running = true;
process.stdin.resume().on('end', () => { running = false; });

let [committed, retries] = [0, 0];
for (let sequence = 0; running; sequence += 1) {
    const key = `load-${sequence}`;
    const deadline = Date.now() + PATIENCE;
    for (let attempt = 0; ; attempt += 1) {
        try {
            await contracts[(sequence + attempt) % contracts.length].submitTransaction('put', key, `${sequence}`);
            break;
        } catch (error) {
            console.log(`${key}, attempt ${attempt}: ${error.message} ${JSON.stringify(error.details ?? '')}`);
            if (Date.now() > deadline) {
                console.log(`${key} was never committed`);
                process.exit(1);
            }
            retries += 1;
            await pause(200);
        }
    }
    committed += 1;
    await pause(config.pace);
}
// What was acknowledged is there.
for (let sequence = 0; sequence < committed; sequence += Math.ceil(committed / 50)) {
    const found = await contracts[0].evaluateTransaction('get', `load-${sequence}`);
    if (Buffer.from(found).toString() !== `${sequence}`) {
        console.log(`load-${sequence} was acknowledged and is gone`);
        process.exit(1);
    }
}
console.log(`${committed} transactions committed, ${retries} retries`);
process.exit(committed > 0 ? 0 : 1);
