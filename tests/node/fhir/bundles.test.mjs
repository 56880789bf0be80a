// Bundles with whole histories: all or nothing, or entry by entry.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { found, isRefusal, kit, transactionOf } from './lib/clients.mjs';
import { chain } from './lib/blocks.mjs';
import { person } from './lib/people.mjs';
import { bundle, created, few, somebody } from './lib/patients.mjs';

let clerk;
let doctor;
let blocks;

before(async () => {
    [clerk, doctor] = await Promise.all(['records', 'physician'].map(async (role) => kit(await person('clinic', role), { purpose: 'TREAT' })));
    blocks = chain('clinic');
});

after(() => blocks.close());

async function orders(count, work) {
    const height = await blocks.height();
    const answer = await work();
    assert.equal(await blocks.height() - height, count, 'blocks that were made meanwhile');
    return answer;
}

test('A1: luna’s bundle is refused whole, and exactly its two mistakes are named', async () => {
    const refusal = await orders(0, () => clerk.transaction({ body: bundle('luna') }).catch((error) => error));
    isRefusal(refusal.response?.status, refusal.response?.data, 400, 'structure', 'WRONG_SHAPE');
    assert.deepEqual(
        refusal.response.data.issue.map(({ expression }) => expression[0]),
        ['Bundle.entry[16].resource.category', 'Bundle.entry[221].resource.valueTime'],
    );
});

test('A1: as a batch 221 entries are stored and the two are refused', async () => {
    const { bundle: body } = somebody('luna');
    const answer = await orders(1, () => clerk.batch({ body: { ...body, type: 'batch' } }));
    const statuses = answer.entry.map(({ response }) => response.status);
    assert.equal(answer.type, 'batch-response');
    assert.equal(statuses.filter((status) => status === '201 Created').length, 221);
    for (const place of [16, 221]) {
        assert.equal(statuses[place], '400 Bad Request');
        assert.equal(answer.entry[place].response.outcome.resourceType, 'OperationOutcome');
    }
});

test('A2: johnnie’s 237 resources are one transaction, and all of them can be found', async () => {
    const { bundle: body } = somebody();
    const answer = await orders(1, () => clerk.transaction({ body }));
    assert.equal(answer.type, 'transaction-response');
    const ids = created(answer);
    assert.equal(Object.values(ids).flat().length, 237);
    const [patient] = ids.Patient;
    const all = await doctor.search({ resourceType: 'Observation', searchParams: { patient, _count: 200 } });
    assert.deepEqual([all.total, found(all).length], [106, 106]);
    assert.deepEqual(found(all).map(({ id }) => id).sort(), [...ids.Observation].sort());
    assert.equal(new Set(found(all).map(transactionOf)).size, 1, 'one transaction');
    for (const resource of found(all)) {
        assert.equal(resource.subject.reference, `Patient/${patient}`);
        assert.ok(ids.Encounter.includes(resource.encounter.reference.split('/')[1]));
    }
    let [page, count] = [await doctor.operation({ resourceType: 'Patient', id: patient, name: '$everything', method: 'GET', input: { _count: 200 } }), 0];
    while (page) {
        count += found(page).length;
        page = page.link?.some(({ relation }) => relation === 'next') ? await doctor.nextPage({ bundle: page }) : undefined;
    }
    assert.equal(count, 235, 'all but the organization and the practitioner, which are nobody’s');
});

test('an entry that is wrong refuses a transaction, and says which it is', async () => {
    const broken = (change) => {
        const { bundle: body } = few();
        change(body.entry);
        return body;
    };
    for (const [body, code, path] of [
        [broken((entry) => { entry[1].request.method = 'PUT'; }), 'NOT_SUPPORTED', 'Bundle.entry[1]'],
        [broken((entry) => { entry[1].request.ifNoneExist = 'identifier=x'; }), 'NOT_SUPPORTED', 'Bundle.entry[1]'],
        [broken((entry) => { entry[1].request.url = 'Patient'; }), 'WRONG_TYPE', 'Bundle.entry[1]'],
        [broken((entry) => { entry[2].fullUrl = entry[1].fullUrl; }), 'DUPLICATE', 'Bundle.entry[2]'],
        [broken((entry) => { entry[0].resource.identifier = [{ system: 's' }]; }), 'NO_IDENTIFIER', 'Bundle.entry[0].resource.identifier'],
        [broken((entry) => { entry[0].fullUrl = 'urn:uuid:00000000-0000-0000-0000-000000000000'; }), 'UNRESOLVED_REFERENCE', undefined],
    ]) {
        const refusal = await orders(0, () => clerk.transaction({ body }).catch((error) => error));
        assert.equal(refusal.response?.status, 422, `${code}: ${refusal}`);
        const [issue] = refusal.response.data.issue;
        assert.equal(issue.details.coding[0].code, code);
        if (path) assert.equal(issue.expression[0], path);
    }
});

test('entries of a batch are judged one by one, by the scopes of the token too', async () => {
    const { bundle: body } = few();
    const { Patient: [patient], Observation: [first] } = created(await clerk.transaction({ body }));
    const reader = await kit(await person('clinic', 'physician'), { scope: 'user/*.rs', purpose: 'TREAT' });
    const answer = await reader.batch({
        body: {
            resourceType: 'Bundle',
            type: 'batch',
            entry: [
                { request: { method: 'GET', url: `Observation/${first}` } },
                { request: { method: 'GET', url: 'Patient/nobody' } },
                { request: { method: 'GET', url: `Observation?patient=${patient}&_summary=count` } },
                { request: { method: 'DELETE', url: `Observation/${first}` } },
                { resource: body.entry[1].resource, request: { method: 'POST', url: 'Observation' } },
            ],
        },
    });
    assert.deepEqual(
        answer.entry.map(({ response }) => response.status.slice(0, 3)),
        ['200', '404', '200', '405', '403'],
    );
    assert.equal(answer.entry[0].resource.id, first);
});
