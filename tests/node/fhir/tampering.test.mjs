// A6: the gateway's store is changed behind its back. Every change is found, and nothing else suffers.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { before, test } from 'node:test';
import { found, kit, refused } from './lib/clients.mjs';
import { dataOf } from './lib/nodes.mjs';
import { person } from './lib/people.mjs';
import { created, few, observation } from './lib/patients.mjs';

let clerk;
let doctor;
let patient;
let ids;
let subject;

before(async () => {
    const who = few(8);
    const [records, physician, self] = await Promise.all([
        person('clinic', 'records'), person('clinic', 'physician'), person('clinic', 'patient', { 'hc.sid': who.sid }),
    ]);
    [clerk, doctor, patient] = await Promise.all([kit(records), kit(physician, { purpose: 'TREAT' }), kit(self)]);
    ({ Observation: ids, Patient: [subject] } = created(await clerk.transaction({ body: who.bundle })));
});

// Changes rows of the running gateway's database, by Python, whose SQLite is not the gateway's.
// `change` is Python, which has `rows`: dictionaries of the documents of these ids, oldest first.
function change(documents, python) {
    const program = `
import sqlite3, sys
path, *ids = sys.argv[1:]
database = sqlite3.connect(path, timeout=20)
database.row_factory = sqlite3.Row
rows = [dict(row) for id in ids for row in database.execute("SELECT * FROM documents WHERE id = ? ORDER BY version", [id])]
def put(row, **values):
    for name, value in values.items():
        database.execute(f"UPDATE documents SET {name} = ? WHERE n = ?", [value, row["n"]])
def flipped(value, at):
    return value[:at] + bytes([value[at] ^ 1]) + value[at + 1:]
${python}
database.commit()
`;
    execFileSync('python3', ['-c', program, `${dataOf('clinic')}/documents.sqlite`, ...documents], { stdio: 'inherit' });
}

const read = (id) => doctor.read({ resourceType: 'Observation', id });
const verify = (id) => doctor.operation({ resourceType: 'Observation', id, name: '$verify-integrity', method: 'GET' });

async function isTampered(id) {
    const issue = await refused(read(id), 502, 'security', 'TAMPERED');
    assert.equal(issue.severity, 'fatal');
    // The alarm is on the ledger, and the patient sees it.
    const [, access] = issue.diagnostics.match(/access ([0-9a-f-]{36})/);
    const alarms = found(await patient.search({ resourceType: 'AuditEvent', searchParams: { outcome: '12' } }));
    assert.ok(alarms.some((event) => event.id === access), `no alarm ${access}`);
}

test('a byte of a ciphertext', async () => {
    change([ids[0]], 'put(rows[0], ciphertext=flipped(rows[0]["ciphertext"], 40))');
    await isTampered(ids[0]);
    await refused(verify(ids[0]), 502, 'security', 'TAMPERED');
});

test('a byte of a ciphertext, with the hash that fits beside it', async () => {
    change([ids[1]], 'import hashlib\nforged = flipped(rows[0]["ciphertext"], -1 % len(rows[0]["ciphertext"]))\n'
        + 'put(rows[0], ciphertext=forged, ct_hash=hashlib.sha256(forged).hexdigest())');
    await isTampered(ids[1]);
    await refused(verify(ids[1]), 502, 'security', 'TAMPERED');
});

test('a byte of a wrapped key', async () => {
    change([ids[2]], 'put(rows[0], wrapped_key=flipped(rows[0]["wrapped_key"], 5))');
    await isTampered(ids[2]);
});

test('two documents in each other’s place', async () => {
    const pair = ids.slice(3, 5);
    change(pair, 'for row, other in [(rows[0], rows[1]), (rows[1], rows[0])]:\n'
        + '    put(row, **{name: other[name] for name in ["ciphertext", "wrapped_key", "ct_hash", "pt_commit"]})');
    for (const id of pair) {
        await isTampered(id);
        await refused(verify(id), 502, 'security', 'TAMPERED');
    }
});

test('an older version in the place of the newest', async () => {
    const made = await clerk.create({ resourceType: 'Observation', body: observation(subject, 10) });
    await clerk.update({ resourceType: 'Observation', id: made.id, body: { ...made, valueQuantity: { value: 11 } } });
    assert.equal((await read(made.id)).valueQuantity.value, 11);
    change([made.id], 'old, new = rows\nput(new, **{name: old[name] for name in ["ciphertext", "wrapped_key", "ct_hash", "pt_commit"]})');
    await isTampered(made.id);
    await refused(verify(made.id), 502, 'security', 'TAMPERED');
});

test('the newest version taken away altogether', async () => {
    const made = await clerk.create({ resourceType: 'Observation', body: observation(subject, 20) });
    await clerk.update({ resourceType: 'Observation', id: made.id, body: { ...made, valueQuantity: { value: 21 } } });
    change([made.id], 'old, new = rows\ndatabase.execute("PRAGMA foreign_keys = ON")\n'
        + 'database.execute("DELETE FROM documents WHERE n = ?", [new["n"]])\nput(old, state="current")');
    await isTampered(made.id);
});

test('a search says what is tampered with, and gives the rest; other documents are not affected', async () => {
    for (const id of ids.slice(5)) {
        assert.equal((await read(id)).id, id);
        await verify(id);
    }
    const bundle = await doctor.search({ resourceType: 'Observation', searchParams: { patient: subject, category: 'laboratory', _count: 100 } });
    const given = found(bundle).map(({ id }) => id);
    assert.deepEqual(given.sort(), ids.slice(5).sort());
    const told = bundle.entry.filter(({ search }) => search.mode === 'outcome').flatMap(({ resource }) => resource.issue);
    assert.ok(told.some(({ details }) => details?.coding?.[0]?.code === 'TAMPERED'), JSON.stringify(told));
});
