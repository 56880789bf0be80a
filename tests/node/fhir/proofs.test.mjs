// Every write has a Provenance. What it says is compared with the block that a peer has.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { found, headersOf, kit, parameter, refused, transactionOf } from './lib/clients.mjs';
import { chain, transaction } from './lib/blocks.mjs';
import { person } from './lib/people.mjs';
import { created, few, observation } from './lib/patients.mjs';

let clerk;
let doctor;
let patient;
let written;
const peers = ['clinic', 'hospital', 'citizen'].map(chain);

before(async () => {
    [clerk, doctor] = await Promise.all(['records', 'physician'].map(async (role) => kit(await person('clinic', role), { purpose: 'TREAT' })));
    const ids = created(await clerk.transaction({ body: few().bundle }));
    [patient] = ids.Patient;
    const made = await clerk.create({ resourceType: 'Observation', body: observation(patient) });
    const changed = await clerk.update({ resourceType: 'Observation', id: made.id, body: { ...made, valueQuantity: { value: 3 } } });
    const [bundled] = found(await doctor.search({ resourceType: 'ImagingStudy', searchParams: { patient } }));
    written = [made, changed, bundled];
});

after(() => peers.forEach((peer) => peer.close()));

const extension = (provenance, name) => {
    const { url, ...value } = provenance.extension.find((entry) => entry.url === `urn:consilium:${name}`);
    return Object.values(value)[0];
};
const organizations = (provenance, role) => provenance.agent
    .filter(({ type }) => type.coding[0].code === role)
    .map(({ who }) => who.identifier.value)
    .sort();

// A Provenance says of a transaction what the block of each peer says.
async function agrees(provenance, id) {
    for (const peer of peers) {
        const committed = transaction(await peer.holding(id), id);
        assert.equal(committed.code, 0, 'VALID');
        assert.deepEqual(
            {
                block: Number(extension(provenance, 'block')),
                channel: extension(provenance, 'channel'),
                transaction: extension(provenance, 'transaction'),
                validation: extension(provenance, 'validation'),
                author: organizations(provenance, 'author'),
                verifiers: organizations(provenance, 'verifier'),
                seconds: Math.floor(Date.parse(provenance.recorded) / 1000),
            },
            {
                block: committed.block,
                channel: committed.channel,
                transaction: id,
                validation: 'VALID',
                author: [committed.author],
                verifiers: [...committed.verifiers].sort(),
                seconds: committed.seconds,
            },
        );
    }
}

test('the Provenance of every write says what the block says, at each organization’s peer', async () => {
    for (const resource of written) {
        const id = transactionOf(resource);
        const provenance = await doctor.read({ resourceType: 'Provenance', id });
        await agrees(provenance, id);
        assert.deepEqual(organizations(provenance, 'author'), ['ClinicMSP']);
        const targets = provenance.target.map(({ reference }) => reference);
        assert.ok(targets.includes(`${resource.resourceType}/${resource.id}/_history/${resource.meta.versionId}`), targets.join(' '));
    }
});

test('every version of a resource has its Provenance', async () => {
    const [made, changed] = written;
    const bundle = await doctor.search({ resourceType: 'Provenance', searchParams: { target: `Observation/${made.id}` } });
    const provenances = found(bundle);
    assert.deepEqual(provenances.map(({ id }) => id).sort(), [transactionOf(made), transactionOf(changed)].sort());
    for (const provenance of provenances) await agrees(provenance, provenance.id);
});

test('the hash that $verify tells is in the block, and the plaintext is not', async () => {
    const [, changed] = written;
    const verified = await doctor.operation({ resourceType: 'Observation', id: changed.id, name: '$verify', method: 'GET' });
    assert.equal(parameter(verified, 'result'), 'Intact');
    const id = transactionOf(changed);
    const { bytes } = transaction(await peers[1].holding(id), id);
    const hashes = verified.parameter.map(({ name, ...value }) => String(Object.values(value)[0])).filter((text) => /^[0-9a-f]{64}$/.test(text) && text !== id);
    assert.ok(hashes.length > 0, JSON.stringify(verified));
    for (const hash of hashes) assert.ok(Buffer.from(bytes).includes(hash), hash);
    for (const word of ['8302-2', 'Body Height', 'valueQuantity', patient]) assert.ok(!Buffer.from(bytes).includes(word), word);
    const sealed = parameter(verified, 'block');
    assert.equal(Number(sealed), transaction(await peers[0].holding(id), id).block);
});

test('$verify reads nothing: it needs no consent, and leaves no decision', async () => {
    const height = await peers[0].height();
    const [made] = written;
    await doctor.operation({ resourceType: 'Observation', id: made.id, name: '$verify', method: 'GET' });
    await doctor.operation({ resourceType: 'Observation', id: made.id, name: '$verify-integrity', method: 'GET' });
    assert.equal(await peers[0].height(), height);
    await refused(doctor.operation({ resourceType: 'Observation', id: 'nothing', name: '$verify', method: 'GET' }), 404, 'not-found', 'NOT_FOUND');
});

test('a read is a transaction of its own, whose Provenance is there as well', async () => {
    const [, changed] = written;
    const height = await peers[0].height();
    const read = await doctor.read({ resourceType: 'Observation', id: changed.id });
    assert.ok(await peers[0].height() > height, 'the decision was committed');
    assert.ok(headersOf(read).get('link').includes(transactionOf(changed)));
    await refused(doctor.read({ resourceType: 'Provenance', id: 'f'.repeat(64) }), 404, 'not-found', 'NOT_FOUND');
    await refused(doctor.read({ resourceType: 'Provenance', id: 'short' }), 404, 'not-found', 'NOT_FOUND');
});
