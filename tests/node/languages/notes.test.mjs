// docs/contracts.md: the shortest contract of each language, written, deployed and upgraded as that
// page says.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import path from 'node:path';
import { channelName, dir } from '../lib/network.mjs';
import { Deployed, anyOne, consilium, contracts, freePort, languages, refusal } from './services.mjs';

const run = randomUUID().slice(0, 8);
const docs = readFileSync(path.join(contracts, '..', '..', 'docs', 'contracts.md'), 'utf8');
// Of each language the contract and its test, in tests/contracts.
const sources = {
    go: ['go/notes/main.go', 'go/notes/main_test.go'],
    node: ['node/notes.js', 'node/notes.test.js'],
    java: ['java/src/main/java/Notes.java', 'java/src/test/java/NotesTest.java'],
    python: ['python/notes.py', 'python/test_notes.py'],
    rust: ['../../crates/contracts/tests/notes.rs'],
};
// Any other function is.
const refused = ['other', 'put ID TEXT, or get ID'];
const started = [];

after(() => Promise.all(started.map((contract) => contract.close())));

for (const [language, files] of Object.entries(sources)) {
    test(`${language}: the contract of docs/contracts.md and its test are those that run`, () => {
        for (const file of files) {
            assert.ok(docs.includes(readFileSync(path.join(contracts, file), 'utf8').trim()), file);
        }
    });
}

for (const language of Object.keys(languages)) {
    test(`${language}: a contract is deployed, and upgraded beside its first version`, async () => {
        const first = new Deployed(language, 'notes', `notes-${language}-${run}`);
        started.push(first);
        assert.match(await first.deploy(['--version', '1.0']), /is defined on channel \w+, sequence 1\n/);
        await first.start();
        await first.ready(refused);
        await first.submit('put', 'n1', 'milk');
        assert.equal(await first.evaluate('get', 'n1'), 'milk');

        const second = new Deployed(language, 'notes', first.name);
        started.push(second);
        // Without --upgrade a name cannot be taken twice.
        await assert.rejects(second.deploy(['--version', '2.0']), /is defined on \w+ already, with sequence 1/);
        assert.match(await second.deploy(['--version', '2.0', '--upgrade']), /, sequence 2\n/);
        assert.notEqual(second.packageId, first.packageId);
        await first.stop();
        await second.start();
        await second.ready(refused);
        assert.equal(await second.evaluate('get', 'n1'), 'milk');
        await second.submit('put', 'n2', 'bread');
        assert.equal(await second.evaluate('get', 'n2'), 'bread');
    });
}

test('a contract that requires initialization refuses everything before it, and a second one', async () => {
    const contract = new Deployed('go', 'everything', `init-${run}`);
    started.push(contract);
    await contract.deploy(['--init-required']);
    await contract.start();
    const call = (...words) => consilium('invoke', '--network', dir, ...words);
    assert.match(
        await refusal(contract.evaluate('get', 'k')),
        new RegExp(`chaincode '${contract.name}' has not been initialized for this version, must call as init first`),
    );
    await call('--is-init', contract.name, 'init', 'first');
    assert.equal(await contract.evaluate('get', 'initialized'), 'first');
    await assert.rejects(
        call('--is-init', contract.name, 'init', 'second'),
        new RegExp(`chaincode '${contract.name}' is already initialized but called as init`),
    );
    assert.equal(await contract.evaluate('get', 'initialized'), 'first');
});

test('what cannot be deployed is refused with the reason', async () => {
    const deploy = async (...options) => consilium(
        'network', 'deploy', '--dir', dir, '--policy', anyOne, ...options, `refused-${run}`,
    );
    const service = ['--service', `localhost:${await freePort()}`];
    await assert.rejects(deploy(...service, '--upgrade'), new RegExp(`refused-${run} is not defined on ${channelName}`));
    await assert.rejects(deploy(...service, '--collections', '/nowhere.json'), /could not read file '\/nowhere\.json'/);
    await assert.rejects(deploy('--metadata', '/nowhere'), /--metadata belongs to a service/);
});
