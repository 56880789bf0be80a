// A service that wants TLS and the peers' certificate: everything is in `connection.json`.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import path from 'node:path';
import { Deployed, freePort, refusal } from './services.mjs';

const folder = mkdtempSync(path.join(tmpdir(), 'consilium-tls-'));
const file = (name) => path.join(folder, name);
const contract = new Deployed('go', 'everything', `tls-${randomUUID().slice(0, 8)}`);
const stranger = new Deployed('go', 'everything', `stranger-${randomUUID().slice(0, 8)}`);
const tls = {
    CHAINCODE_TLS_KEY: file('server.key'),
    CHAINCODE_TLS_CERT: file('server.crt'),
    CHAINCODE_CLIENT_CA_CERT: file('client-ca.crt'),
};

// Two certificate authorities: one for the service, one for those who dial it.
function certificates() {
    const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    for (const ca of ['server-ca', 'client-ca']) {
        openssl('req', '-x509', ...key, '-keyout', file(`${ca}.key`), '-out', file(`${ca}.crt`), '-days', '2', '-subj', `/CN=${ca}`);
    }
    for (const [ca, name, usage] of [['server-ca', 'server', 'serverAuth'], ['client-ca', 'client', 'clientAuth']]) {
        openssl('req', ...key, '-keyout', file(`${name}.key`), '-out', file(`${name}.csr`), '-subj', `/CN=${name}`);
        writeFileSync(file('extensions'), `subjectAltName=DNS:localhost\nextendedKeyUsage=${usage}\n`);
        openssl(
            'x509', '-req', '-in', file(`${name}.csr`), '-CA', file(`${ca}.crt`), '-CAkey', file(`${ca}.key`),
            '-out', file(`${name}.crt`), '-days', '2', '-extfile', file('extensions'), '-set_serial', '7',
        );
    }
}

// Deploys with a `connection.json` that has these fields besides the address.
async function deploy(deployed, fields) {
    const port = await freePort();
    writeFileSync(file('connection.json'), JSON.stringify({
        address: `localhost:${port}`, dial_timeout: '3s', tls_required: true, ...fields,
    }));
    await deployed.deploy(['--connection', file('connection.json')]);
    deployed.port = port;
}

const pem = (name) => readFileSync(file(name), 'utf8');

before(certificates);

after(async () => {
    await contract.close();
    await stranger.close();
    rmSync(folder, { recursive: true });
});

test('a service with mutual TLS is dialled with the certificate that connection.json names', async () => {
    await deploy(contract, {
        client_auth_required: true, client_key: pem('client.key'), client_cert: pem('client.crt'), root_cert: pem('server-ca.crt'),
    });
    await contract.start({ env: tls });
    await contract.ready();
    await contract.submit('put', 'k', 'over TLS');
    assert.equal(await contract.evaluate('get', 'k'), 'over TLS');
});

test('a service with mutual TLS refuses a peer without certificate', async () => {
    await deploy(stranger, { root_cert: pem('server-ca.crt') });
    await stranger.start({ env: tls });
    const asked = () => refusal(stranger.evaluate('get', 'k'));
    // The service takes a moment to listen.
    let said = await asked();
    for (let attempt = 0; attempt < 120 && /refused/i.test(said); attempt += 1) {
        await new Promise((resolve) => { setTimeout(resolve, 250); });
        said = await asked();
    }
    assert.match(said, /could not launch chaincode/);
    assert.doesNotMatch(said, /refused/i);
});
