// The contracts under test: what each language's shim offers, how its service is deployed and started.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { channelName, dir, gateway } from '../lib/network.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.join(here, '..', '..', '..');
export const contracts = path.join(root, 'tests', 'contracts');
const built = path.join(root, 'target', 'test', 'contracts');
const execute = promisify(execFile);

export const anyOne = "OR('HospitalMSP.peer','MakerMSP.peer','RegulatorMSP.peer')";

// `command` is what runs a program of that language. `lacks` are the functions of the contract that
// the shim offers no call for. `crash` is what an exception in the contract comes to: where the shim
// lets nobody know, it is for the peer to wait no longer. `hides` is what a shim says instead of
// passing the peer's words on.
export const languages = {
    go: {
        command: (program) => [path.join(built, program)],
        lacks: [],
        crash: { dies: true, message: /chaincode stream terminated/ },
    },
    node: {
        command: (program) => ['node', path.join(contracts, 'node', `${program}.js`)],
        lacks: ['getMany', 'batch', 'allPage', 'privateGetMany'],
        crash: { dies: false, message: /timeout expired while executing transaction/ },
    },
    java: {
        command: (program) => {
            const classes = ['classes', 'dependency/*'].map((part) => path.join(contracts, 'java', 'target', part));
            const main = program[0].toUpperCase() + program.slice(1);
            return ['java', '-Xmx192m', '-XX:TieredStopAtLevel=1', '-cp', classes.join(':'), main];
        },
        lacks: ['getMany', 'batch', 'allPage', 'privateGetMany'],
        crash: { dies: false, message: /transaction returned with failure: java\.lang\.IllegalStateException: on purpose/ },
        hides: /chaincode response 500, \[[0-9a-f]{8}\]Unsuccessful response received\./,
    },
    python: {
        command: (program) => [
            path.join(root, 'target', 'test', 'python', 'bin', 'python'), path.join(contracts, 'python', `${program}.py`),
        ],
        lacks: [
            'getMany', 'batch', 'allPage', 'partialPage', 'pageAndPut',
            'privatePut', 'privateGet', 'privateGetMany', 'privateHash', 'privateDel', 'privatePurge', 'privateRange',
            'privatePutComposite', 'privatePartial', 'privateQuery', 'privateSetPolicy', 'privateGetPolicy',
            'setPolicy', 'getPolicy',
        ],
        crash: { dies: false, message: /timeout expired while executing transaction/ },
    },
};

// A chaincode on the channel, with its service and the applications that call it.
export class Deployed {
    constructor(language, program, name) {
        this.language = language;
        this.program = program;
        this.name = name;
        this.gateways = new Map();
    }

    // Puts the chaincode on the channel. `options` are further ones of `network deploy`.
    async deploy(options = []) {
        this.port = await freePort();
        const how = options.includes('--connection') ? [] : ['--service', `localhost:${this.port}`];
        const printed = await consilium('network', 'deploy', '--dir', dir, ...how, '--policy', anyOne, ...options, this.name);
        this.packageId = printed.match(/package id: (\S+)/)[1];
        return printed;
    }

    // Starts the service; `wrap` may put words before its command.
    async start({ env = {}, wrap = (command) => command } = {}) {
        const [program, ...args] = wrap(languages[this.language].command(this.program));
        const child = spawn(program, args, {
            env: {
                ...process.env,
                CHAINCODE_ID: this.packageId,
                CORE_CHAINCODE_ID_NAME: this.packageId,
                CHAINCODE_SERVER_ADDRESS: `127.0.0.1:${this.port}`,
                ...env,
            },
            stdio: ['ignore', 'ignore', 'pipe'],
        });
        // The beginning of what it says, for whoever wonders why it went.
        let said = '';
        child.stderr.setEncoding('utf8');
        child.stderr.on('data', (text) => { said = (said + text).slice(0, 10000); });
        child.gone = new Promise((resolve) => {
            child.on('error', (error) => resolve(error.message));
            // With `close`, what it said last has arrived.
            child.on('close', (code, signal) => resolve(`${signal ?? code}: ${said}`));
        });
        this.service = child;
    }

    // Until every organization's peer has connected to the service: until this call is refused in
    // these words.
    async ready(call = ['fail', 'ready']) {
        const gone = this.service.gone.then((how) => { throw new Error(`the service of ${this.name} ended: ${how}`); });
        await Promise.race([gone, this.connected(call)]);
    }

    async connected([name, words]) {
        for (const org of ['hospital', 'maker', 'regulator']) {
            const ask = () => this.of(org).evaluate(name, { arguments: [words], endorsingOrganizations: [mspId(org)] });
            await eventually(() => ask().catch((error) => {
                if (!error.message.includes(words)) throw error;
            }));
        }
    }

    async stop() {
        if (!this.service) return;
        this.service.kill('SIGKILL');
        await this.service.gone;
        this.service = undefined;
    }

    async close() {
        for (const open of this.gateways.values()) open.close();
        await this.stop();
    }

    connection(org) {
        if (!this.gateways.has(org)) this.gateways.set(org, gateway(org));
        return this.gateways.get(org);
    }

    // The contract as an application of that organization sees it.
    of(org) {
        return this.connection(org).getNetwork(channelName).getContract(this.name);
    }

    lacks(...functions) {
        return functions.some((name) => languages[this.language].lacks.includes(name));
    }

    // Asserts that `call` fails with these words of the peer, as far as the shim passes them on.
    async refused(call, words) {
        assert.match(await refusal(call), languages[this.language].hides ?? words);
    }

    // Text of what the function answers at the hospital's peer.
    async evaluate(name, ...args) {
        return text(await this.of('hospital').evaluate(name, { arguments: args, endorsingOrganizations: ['HospitalMSP'] }));
    }

    async json(name, ...args) {
        return JSON.parse(await this.evaluate(name, ...args));
    }

    // Text of what the function answers, once it is committed as valid.
    async submit(name, ...args) {
        return text(await this.of('hospital').submitTransaction(name, ...args));
    }

    // The commit of a transaction that these organizations alone endorse.
    async endorsedBy(mspIds, name, args, transientData = {}) {
        const commit = await this.of('hospital').submitAsync(name, {
            arguments: args, transientData, endorsingOrganizations: mspIds,
        });
        return commit.getStatus();
    }
}

export async function consilium(...args) {
    const { stdout } = await execute(process.env.CONSILIUM, args, { encoding: 'utf8' });
    return stdout;
}

export const mspId = (org) => `${org[0].toUpperCase()}${org.slice(1)}MSP`;

export const text = (bytes) => Buffer.from(bytes).toString('utf8');

// What `work` gives once it stops failing.
export async function eventually(work, attempts = 120) {
    for (let attempt = 1; ; attempt += 1) {
        try {
            return await work();
        } catch (error) {
            if (attempt === attempts) throw error;
            await new Promise((resolve) => { setTimeout(resolve, 250); });
        }
    }
}

// The error of a call that has to fail, as one text: the SDK puts the peers' words into details.
export async function refusal(call) {
    try {
        await call;
    } catch (error) {
        const details = (error.details ?? []).map((detail) => detail.message ?? '');
        return [error.message, ...details].join('\n');
    }
    throw new Error('this should have been refused');
}

export function freePort() {
    return new Promise((resolve, reject) => {
        const server = createServer();
        server.on('error', reject);
        server.listen(0, '127.0.0.1', () => {
            const { port } = server.address();
            server.close(() => resolve(port));
        });
    });
}
