// Contracts that the peers' external builders build and run: packages of source code.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { dir, network } from '../lib/network.mjs';
import { Deployed, anyOne, consilium } from '../languages/services.mjs';

// A chaincode whose processes the peers start.
export class Launched extends Deployed {
    constructor(language, program, name, source) {
        super(language, program, name);
        this.source = source;
    }

    async deploy(options = []) {
        const folder = mkdtempSync(path.join(tmpdir(), 'package-'));
        try {
            const file = this.source.pack(folder);
            const printed = await consilium(
                'contract', 'deploy', '--network', dir, '--package', file, '--policy', anyOne, ...options, this.name,
            );
            this.packageId = printed.match(/package id: (\S+)/)[1];
            return printed;
        } finally {
            rmSync(folder, { recursive: true });
        }
    }

    // Until every organization's peer has started it: until this call is refused in these words.
    async ready(call = ['fail', 'ready']) {
        await this.connected(call);
    }
}

// The Go module of the contracts, one of whose programs is the chaincode. `change` may change it.
export function golang(contracts, program, label, metadata, change = () => {}) {
    const folder = path.join(contracts, 'go');
    return source('golang', label, `consilium/tests/contracts/${program}`, (src) => {
        for (const name of ['go.mod', 'go.sum', program]) cpSync(path.join(folder, name), path.join(src, name), { recursive: true });
        change(src);
    }, metadata);
}

// A contract on fabric-contract-api with the packages that a lock file names.
export function node(contract, locked, label, metadata) {
    return source('node', label, 'notes', (src) => {
        cpSync(path.join(contract, 'index.js'), path.join(src, 'index.js'));
        cpSync(path.join(locked, 'package-lock.json'), path.join(src, 'package-lock.json'));
        const described = JSON.parse(readFileSync(path.join(locked, 'package.json'), 'utf8'));
        writeFileSync(path.join(src, 'package.json'), JSON.stringify({ ...described, main: 'index.js' }));
    }, metadata);
}

function source(type, label, main, fill, metadata) {
    return {
        pack(folder) {
            const code = path.join(folder, 'code');
            mkdirSync(path.join(code, 'src'), { recursive: true });
            fill(path.join(code, 'src'));
            if (metadata) cpSync(metadata, path.join(code, 'META-INF'), { recursive: true });
            writeFileSync(path.join(folder, 'metadata.json'), JSON.stringify({ path: main, type, label }));
            tar(path.join(folder, 'code.tar.gz'), code, readdirSync(code));
            const file = path.join(folder, 'package.tar.gz');
            tar(file, folder, ['metadata.json', 'code.tar.gz']);
            return file;
        },
    };
}

function tar(file, folder, names) {
    execFileSync('tar', ['--create', '--gzip', '--file', file, '--directory', folder, ...names]);
}

// What a peer has logged.
export function log(org) {
    const { domain } = network.organizations.find((member) => member.name === org);
    return readFileSync(path.join(dir, 'logs', `peer0.${domain}.log`), 'utf8');
}

// Process ids of the chaincode that a peer runs, by what it was built as.
export function processes(packageId) {
    const built = packageId.replace(':', '-');
    return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).filter((pid) => {
        try {
            return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(built)
                || readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`CORE_CHAINCODE_ID_NAME=${packageId}`);
        } catch {
            return false; // It has ended, or is somebody else's.
        }
    });
}
