// npm fabric-common, unmodified: the classic SDK finds orderers, peers and endorsers by discovery.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Client, User } from 'fabric-common';
import { channelName, gateway, identity, network, organization, text, userDir } from './lib/network.mjs';

const TIMEOUT = 20000;
let asked;

// A client of an organization that knows one peer's address and asks it.
async function asker(org, name = 'User1') {
    const folder = userDir(org, name);
    const tls = (file) => readFileSync(path.join(folder, 'tls', file), 'utf8');
    const keys = path.join(folder, 'msp', 'keystore');
    const key = readFileSync(path.join(keys, readdirSync(keys)[0]), 'utf8');
    const client = new Client(`discovery-${org}`);
    client.setTlsClientCertAndKey(tls('client.crt'), tls('client.key'));
    const { mspId, credentials } = identity(org, name);
    const user = User.createUser(name, '', mspId, credentials.toString(), key);
    const context = () => client.newIdentityContext(user);
    const peer = client.newDiscoverer('peer', mspId);
    const url = `grpcs://localhost:${organization(org).ports.peer}`;
    await peer.connect(client.newEndpoint({ url, pem: tls('ca.crt'), requestTimeout: TIMEOUT }));
    const channel = client.newChannel(channelName);
    const discovery = channel.newDiscoveryService('discovery');
    return {
        channel,
        context,
        discovery,
        async ask(request) {
            const id = context();
            discovery.build(id, request);
            discovery.sign(id);
            return discovery.send({ targets: [peer], requestTimeout: TIMEOUT });
        },
        close() {
            channel.close();
            discovery.close();
            peer.disconnect();
            client.close();
        },
    };
}

before(async () => {
    asked = await asker('hospital');
});

after(() => asked.close());

test('organizations, orderers and peers of the channel are found', async () => {
    const found = await asked.ask({ interest: [{ name: 'kv' }] });
    const organizations = network.organizations;
    const ids = organizations.map(({ msp_id: id }) => id).sort();
    assert.deepEqual(Object.keys(found.msps).sort(), ids);
    assert.deepEqual(Object.keys(found.orderers).sort(), ids);
    for (const { msp_id: id, ports } of organizations) {
        assert.deepEqual(found.orderers[id].endpoints.map(({ host, port }) => [host, port]), [['localhost', ports.orderer]]);
        const peers = found.peers_by_org[id].peers;
        const own = peers.find(({ endpoint }) => endpoint === `localhost:${ports.peer}`);
        assert.ok(own.ledgerHeight.gt(1), `${own.ledgerHeight}`);
        assert.ok(own.chaincodes.some(({ name, version }) => name === 'kv' && /^[0-9]+$/.test(version)));
        assert.ok(found.msps[id].rootCerts.includes('BEGIN CERTIFICATE'));
    }
    const { chaincode, groups, layouts } = found.endorsement_plan;
    assert.equal(chaincode, 'kv');
    assert.ok(layouts.length > 0);
    for (const layout of layouts) {
        for (const [group, count] of Object.entries(layout)) {
            assert.ok(groups[group].peers.length >= count, `${group} of ${JSON.stringify(layout)}`);
        }
    }
});

test('a transaction is endorsed and ordered by whom discovery names', async () => {
    const name = `discovered-${randomUUID()}`;
    const { channel, context, discovery } = asked;
    const id = context();
    const endorsement = channel.newEndorsement('kv');
    endorsement.build(id, { fcn: 'put', args: [name, 'found'] });
    endorsement.sign(id);
    const { endorsement_plan: plan } = await asked.ask({ endorsement });
    const handler = discovery.newHandler();
    const { responses, errors } = await endorsement.send({ handler, requestTimeout: TIMEOUT });
    assert.deepEqual(errors, []);
    // Hospital and maker have to endorse: one way, one peer of each.
    assert.deepEqual(plan.layouts.map((layout) => Object.values(layout)), [[1, 1]]);
    assert.equal(responses.length, 2);
    const commit = endorsement.newCommit();
    commit.build(id);
    commit.sign(id);
    const { status } = await commit.send({ handler, requestTimeout: TIMEOUT });
    assert.equal(status, 'SUCCESS');
    const hospital = gateway('hospital');
    try {
        const contract = hospital.getNetwork(channelName).getContract('kv');
        for (const end = Date.now() + TIMEOUT; ;) {
            try {
                assert.equal(text(await contract.evaluateTransaction('get', name)), 'found');
                break;
            } catch (error) {
                assert.match(error.message, /NOT_FOUND/);
                assert.ok(Date.now() < end, 'the transaction is not committed');
                await new Promise((resolve) => setTimeout(resolve, 100));
            }
        }
    } finally {
        hospital.close();
    }
});

test('refusals arrive as errors of the query', async () => {
    await assert.rejects(asked.ask({ interest: [{ name: 'nowhere' }] }), /failed constructing descriptor for chaincodes:\{name:"nowhere"\}/);
    await assert.rejects(asked.ask({ local: true, config: false }), /access denied/);
    const admin = await asker('hospital', 'Admin');
    try {
        const { peers_by_org: peers } = await admin.ask({ local: true, config: true });
        assert.ok(peers.HospitalMSP.peers.length > 0);
    } finally {
        admin.close();
    }
});
