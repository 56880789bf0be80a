// What the other stories rely on: the search for identifiers finds them in every form.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { Scanner } from '../lib/scan.mjs';

const name = 'Johnnie Hermiston';
const scanner = new Scanner([name]);
const kinds = (bytes) => new Set(scanner.scan(bytes).map(({ kind }) => kind));
const sha256 = createHash('sha256').update(name).digest();

test('an identifier is found however it is written', () => {
    for (const [kind, written] of [
        ['plain', name],
        ['plain', name.toUpperCase()],
        ['hexadecimal', Buffer.from(name).toString('hex')],
        ['base64', Buffer.from(name).toString('base64')],
        ['base64', Buffer.from(`{"name":"${name}"}`).toString('base64')],
        ['base64', Buffer.from(`{"names":"${name}"}`).toString('base64url')],
        ['SHA-256', sha256],
        ['SHA-256 in hexadecimal', sha256.toString('hex')],
        ['SHA-256 in base64', sha256.toString('base64')],
    ]) {
        assert.ok(kinds(Buffer.concat([Buffer.from('before '), Buffer.from(written), Buffer.from(' after')])).has(kind), `${kind}: ${written}`);
    }
});

test('it is found in a certificate, whose lines break', () => {
    const der = Buffer.from(`${'x'.repeat(40)}{"attrs":{"hc.name":"${name}"}}`);
    const lines = der.toString('base64').match(/.{1,64}/g).join('\n');
    const pem = `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
    assert.ok(kinds(Buffer.from(`creator ${pem}`)).has('plain'));
});

test('nothing is found where there is nothing', () => {
    assert.equal(scanner.scan(Buffer.from('Johnnie, Hermiston')).length, 0);
    const salted = createHash('sha256').update('a salt').update(name).digest();
    assert.equal(scanner.scan(salted).length, 0);
    assert.throws(() => new Scanner(['abc']), /too short/);
});

test('a short one is a word of its own, and not looked for in base64', () => {
    const short = new Scanner(['785-6'], { whole: 9 });
    for (const [text, found] of [
        ['code 785-6.', true], ['785-6', true], ['1785-6', false], ['a785-6 and "785-6"', true], [Buffer.from('785-6').toString('base64'), false],
        [Buffer.from('785-6').toString('hex'), true],
    ]) {
        assert.equal(short.scan(Buffer.from(text)).length > 0, found, text);
    }
});
