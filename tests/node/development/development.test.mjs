// A contract on Fabric's Go shim as its developer runs it: started by hand, stopped, changed and started
// again, with nothing installed.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { after, test } from 'node:test';
import { dir, network } from '../lib/network.mjs';
import { Deployed, anyOne, consilium, eventually, languages, refusal } from '../languages/services.mjs';

const contract = new Deployed('go', 'notes', `notes-${randomUUID().slice(0, 8)}`);
const [hospital] = network.organizations;
const running = [];

after(async () => {
    await Promise.all(running.map(stop));
    await contract.close();
});

// Starts the program before a peer, as a developer would.
function start(version, { ports } = hospital) {
    const [program] = languages.go.command('notes');
    const env = { ...process.env, CORE_CHAINCODE_ID_NAME: `${contract.name}:${version}`, CORE_PEER_TLS_ENABLED: 'false' };
    const child = spawn(program, ['--peer.address', `localhost:${ports.peer_chaincode}`], { env, stdio: 'ignore' });
    child.gone = new Promise((resolve) => { child.on('close', resolve); });
    running.push(child);
    return child;
}

async function stop(child) {
    child.kill('SIGKILL');
    await child.gone;
}

const get = (key) => contract.evaluate('get', key);

test('a definition without a package stands for what its developer starts', async () => {
    const printed = await consilium(
        'contract', 'deploy', '--network', dir, '--development', '--version', '1.0', '--policy', anyOne, contract.name,
    );
    assert.match(printed, new RegExp(`package id: ${contract.name}:1\\.0\n`));
    assert.match(await refusal(get('n1')), new RegExp(`start it with CORE_CHAINCODE_ID_NAME=${contract.name}:1\\.0`));
    start('1.0');
    await eventually(() => get('n1'));
    await contract.endorsedBy(['HospitalMSP'], 'put', ['n1', 'milk']);
    await eventually(async () => assert.equal(await get('n1'), 'milk'));
});

test('a program that was stopped and started again goes on, without any deployment', async () => {
    await stop(running.pop());
    await eventually(async () => assert.match(await refusal(get('n1')), /it does not run; start it|stream terminated/));
    start('1.0');
    await eventually(async () => assert.equal(await get('n1'), 'milk'));
});

test('one that runs already is not replaced by another', async () => {
    const second = start('1.0');
    await second.gone;
    running.pop();
    assert.equal(await get('n1'), 'milk');
});

test('a program of another version waits for the definition of that version', async () => {
    const next = start('2.0');
    await consilium(
        'contract', 'deploy', '--network', dir, '--development', '--version', '2.0', '--upgrade', '--policy', anyOne, contract.name,
    );
    await stop(running.find((child) => child !== next));
    await eventually(async () => assert.equal(await get('n1'), 'milk'));
});
