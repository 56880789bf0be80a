// What every member keeps for ever: all blocks, read for what names the patients of the tests before.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Scanner, eachBlock } from '../lib/scan.mjs';
import { bundle } from './lib/patients.mjs';

// Names, numbers, dates of birth, addresses, and the codes of LOINC, of both histories.
function words() {
    const found = new Set();
    const walk = (value) => {
        if (Array.isArray(value)) value.forEach(walk);
        else if (value && typeof value === 'object') {
            if (value.system === 'http://loinc.org' && value.code) found.add(value.code);
            Object.values(value).forEach(walk);
        }
    };
    for (const each of ['johnnie', 'luna'].map(bundle)) {
        walk(each);
        const [{ resource: patient }] = each.entry;
        assert.equal(patient.resourceType, 'Patient');
        found.add(patient.birthDate).add(patient.name[0].family);
        for (const name of patient.name[0].given) found.add(name);
        for (const { value } of patient.identifier) found.add(value);
        for (const { value } of patient.telecom ?? []) found.add(value);
        for (const { line } of patient.address ?? []) line.forEach((text) => found.add(text));
    }
    const numbers = path.join(process.env.ANSWERS ?? '', 'numbers');
    if (existsSync(numbers)) for (const number of readFileSync(numbers, 'utf8').trim().split('\n')) found.add(number);
    return [...found];
}

test('no block names anybody, nor what anybody was examined for', async () => {
    const wanted = words();
    assert.ok(wanted.length > 30, `${wanted.length} words`);
    const scanner = new Scanner(wanted, { whole: 9 });
    let [registered, bytes] = [0, 0];
    const height = await eachBlock('insurer', (block, number) => {
        bytes += block.length;
        assert.deepEqual(scanner.scan(block), [], `block ${number}`);
        if (block.includes('RegisterRecords')) registered += 1;
    });
    assert.ok(registered > 0 && bytes > 100_000, `${height} blocks of ${bytes} bytes, ${registered} with records`);
});
