// Enrols a peer with an organization's CA by Fabric's CA client, and writes its `msp` and `tls`.
// usage: node enroll-peer.mjs ORGANIZATION NAME FOLDER, with NETWORK_DIR set

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import FabricCAServices from 'fabric-ca-client';
import { User } from 'fabric-common';
import { authority, dir, organization } from './lib/network.mjs';

const [org, name, out] = process.argv.slice(2);
const { domain, msp_id: mspId } = organization(org);
const { url, name: caName, root, registrar, secret } = authority(org);
const ca = new FabricCAServices(url, { trustedRoots: [root], verify: true }, caName);
const boss = await ca.enroll({ enrollmentID: registrar, enrollmentSecret: secret });
const enrollmentSecret = await ca.register(
    { enrollmentID: name, role: 'peer', affiliation: '', maxEnrollments: -1 },
    User.createUser(registrar, '', mspId, boss.certificate, boss.key.toBytes()),
);

const at = (...parts) => path.join(out, ...parts);
cpSync(path.join(dir, 'organizations', domain, 'msp'), at('msp'), { recursive: true });
for (const folder of ['msp/signcerts', 'msp/keystore', 'tls']) mkdirSync(at(folder), { recursive: true });
const signing = await ca.enroll({ enrollmentID: name, enrollmentSecret });
writeFileSync(at('msp/signcerts/cert.pem'), signing.certificate);
writeFileSync(at('msp/keystore/key.pem'), signing.key.toBytes(), { mode: 0o600 });
// The client cannot ask for host names, openssl can.
const csr = execFileSync('openssl', [
    'req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${name}`,
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', at('tls/server.key'),
], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
const tls = await ca.enroll({ enrollmentID: name, enrollmentSecret, profile: 'tls', csr });
writeFileSync(at('tls/server.crt'), tls.certificate);
