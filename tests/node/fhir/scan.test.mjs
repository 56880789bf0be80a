// What every member keeps for ever: all blocks, read for what names the patients of the tests before.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { chain } from './lib/blocks.mjs';
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

const joins = (byte) => byte !== undefined && /[A-Za-z0-9-]/.test(String.fromCharCode(byte));

// A code as short as `785-6` is in some random ids by chance: there it has letters or digits around it.
function contains(block, word) {
    for (let at = block.indexOf(word); at >= 0; at = block.indexOf(word, at + 1)) {
        if (!joins(block[at - 1]) && !joins(block[at + word.length])) return true;
    }
    return false;
}

test('no block names anybody, nor what anybody was examined for', async () => {
    const peer = chain('insurer');
    const height = await peer.height();
    const wanted = words();
    assert.ok(wanted.length > 30, `${wanted.length} words`);
    // Long words would also be found in base64, at each of the three places where they may begin.
    const encoded = wanted.filter((word) => word.length > 8).flatMap((word) => [0, 1, 2].map((shift) => (
        Buffer.from(`${'x'.repeat(shift)}${word}`).toString('base64').replaceAll('=', '').slice(shift === 0 ? 0 : shift + 1, -1)
    )));
    let [pseudonyms, bytes] = [0, 0];
    for (let number = 0; number < height; number += 1) {
        const block = Buffer.from(await peer.bytes(number));
        bytes += block.length;
        for (const word of wanted) assert.ok(!contains(block, word), `${word} is in block ${number}`);
        for (const word of encoded) assert.ok(!block.includes(word), `${word} is in block ${number}, in base64`);
        if (block.includes('RegisterRecords')) pseudonyms += 1;
    }
    peer.close();
    assert.ok(pseudonyms > 0 && bytes > 100_000, `${height} blocks of ${bytes} bytes, ${pseudonyms} with records`);
});
