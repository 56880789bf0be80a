// Runs the tests of this folder on a running health network: all files, then the scan of all blocks.
// Clients that cannot be told which root to trust take it from the environment, when Node starts.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { dir, network } from '../lib/network.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const roots = path.join(dir, 'fhir-roots.pem');
writeFileSync(roots, network.organizations
    .map(({ domain }) => readFileSync(path.join(dir, 'organizations', domain, 'ca', 'ca-cert.pem'), 'utf8')
        + readFileSync(path.join(dir, 'organizations', domain, 'gateways', `gateway0.${domain}`, 'tls', 'ca.crt'), 'utf8'))
    .join('\n'));

const answers = path.resolve(process.env.ANSWERS ?? path.join(dir, 'fhir-answers'));
rmSync(answers, { recursive: true, force: true });
mkdirSync(answers, { recursive: true });

const last = 'scan.test.mjs';
const wanted = process.argv.slice(2);
const files = readdirSync(here).filter((name) => name.endsWith('.test.mjs') && name !== last).sort();
files.push(last);
const chosen = files.filter((name) => wanted.length === 0 || wanted.some((part) => name.startsWith(part)));
const { status } = spawnSync(
    process.execPath,
    ['--test', '--test-concurrency=1', '--test-timeout=300000', ...chosen.map((name) => path.join(here, name))],
    { stdio: 'inherit', env: { ...process.env, ANSWERS: answers, NODE_EXTRA_CA_CERTS: roots } },
);
process.exit(status ?? 1);
