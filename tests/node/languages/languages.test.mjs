// One contract in Go, Node, Java and Python, each on Fabric's own shim, unmodified, as a service that
// the peers dial.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { channelName } from '../lib/network.mjs';
import { scenarios } from './scenarios.mjs';
import { Deployed, eventually, languages, refusal } from './services.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const run = randomUUID().slice(0, 8);
const wanted = process.env.LANGUAGES?.split(',') ?? Object.keys(languages);
const deployed = Object.fromEntries(wanted.map((language) => [
    language, new Deployed(language, 'everything', `${language}-${run}`),
]));
const all = Object.values(deployed);

before(async () => {
    for (const contract of all) {
        await contract.deploy([
            '--collections', path.join(here, 'collections.json'), '--metadata', path.join(here, 'META-INF'),
        ]);
        await contract.start();
    }
    await Promise.all(all.map((contract) => contract.ready()));
});

after(() => Promise.all(all.map((contract) => contract.close())));

for (const contract of all) {
    for (const { what, needs = [], run: play } of scenarios) {
        const skip = contract.lacks(...needs) ? 'the shim has no such call' : false;
        test(`${contract.language}: ${what}`, { skip }, () => play(contract));
    }
}

for (const caller of all) {
    for (const callee of all) {
        if (caller === callee) continue;
        if (caller.language === 'python') continue;
        test(`${caller.language} calls ${callee.language}`, () => calls(caller, callee));
    }
}

async function calls(caller, callee) {
    const key = `called-${randomUUID()}`;
    const answer = { status: 200, message: '', payload: '' };
    const put = JSON.parse(await caller.submit('call', callee.name, '', 'put', key, caller.language));
    assert.deepEqual({ ...put, message: '' }, answer);
    // What the callee wrote is the callee's.
    assert.equal(await callee.evaluate('get', key), caller.language);
    assert.match(await refusal(caller.evaluate('get', key)), /no such key/);
    const get = await caller.json('call', callee.name, channelName, 'get', key);
    assert.deepEqual({ ...get, message: '' }, { ...answer, payload: caller.language });
    const failed = await caller.json('call', callee.name, '', 'fail', 'over there');
    assert.deepEqual([failed.status, failed.message], [500, 'over there']);
}

for (const caller of all) {
    const { language } = caller;
    test(`${language} is told that there is no such chaincode`, async () => {
        const called = caller.evaluate('call', 'nosuch', '', 'get', 'x');
        // Some shims throw what the peer says, some make a response of it.
        const said = await called.catch(() => refusal(called));
        if (language === 'python') {
            // Version 2.5.4 of this shim sends no chaincode's name and cannot read the answer.
            assert.match(said, /chaincode response 500/);
        } else {
            const words = /INVOKE_CHAINCODE failed: transaction ID: [0-9a-f]{64}: .*failed to get chaincode container info for nosuch/;
            assert.match(said, languages[language].hides ?? words);
        }
    });

    test(`${language}: an exception costs its own transaction only`, async () => {
        const { dies, message } = languages[language].crash;
        assert.match(await refusal(caller.evaluate('crash', 'on purpose')), message);
        if (dies) {
            await caller.service.gone;
            await caller.start();
        }
        const key = `after-${randomUUID()}`;
        await eventually(() => caller.submit('put', key, 'fine'));
        assert.equal(await caller.evaluate('get', key), 'fine');
    });
}
