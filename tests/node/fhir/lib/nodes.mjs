// The gateway as a process and as files.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { dir, organization } from '../../lib/network.mjs';
import { base } from './clients.mjs';

const name = (org) => `gateway0.${organization(org).domain}`;
export const dataOf = (org) => path.join(dir, 'organizations', organization(org).domain, 'gateways', name(org), 'data');

// Ends it at once, as a power failure would.
export function kill(org) {
    const [pid] = readFileSync(path.join(dir, 'run', `${name(org)}.pid`), 'utf8').split(' ');
    process.kill(Number(pid), 'SIGKILL');
}

// Starts what is not running, and waits until the gateway answers.
export async function start(org) {
    await promisify(execFile)(process.env.CONSILIUM, ['network', 'up', '--dir', dir]);
    const until = Date.now() + 30_000;
    for (;;) {
        try {
            if ((await fetch(`${base(org)}/metadata`)).status === 200) return;
        } catch (error) {
            if (Date.now() > until) throw error;
        }
        await new Promise((resolve) => { setTimeout(resolve, 100); });
    }
}
