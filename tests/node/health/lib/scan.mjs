// Looks for identifiers in any bytes: as they are, in hexadecimal digits, in base64, and as bare SHA-256.

import { createHash } from 'node:crypto';

// Shorter ones are found by chance.
const SHORTEST = 4;

// What stands for `bytes` inside a longer text in base64, wherever it begins there.
function base64(bytes) {
    const found = [];
    for (const before of [0, 1, 2]) {
        const text = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64');
        const begin = Math.ceil((before * 8) / 6);
        const end = Math.floor(((before + bytes.length) * 8) / 6);
        const inner = text.slice(begin, end);
        found.push(inner, inner.replaceAll('+', '-').replaceAll('/', '_'));
    }
    return found;
}

// Every form of an identifier that is looked for, with what it is.
function forms(identifier) {
    const spellings = new Set([identifier, identifier.toUpperCase(), identifier.toLowerCase()]);
    const all = [];
    for (const spelling of spellings) {
        const bytes = Buffer.from(spelling);
        const digest = createHash('sha256').update(bytes).digest();
        all.push(['plain', bytes], ['SHA-256', digest]);
        for (const [kind, content] of [['hexadecimal', bytes], ['SHA-256 in hexadecimal', digest]]) {
            const hex = content.toString('hex');
            all.push([kind, Buffer.from(hex)], [kind, Buffer.from(hex.toUpperCase())]);
        }
        for (const text of base64(bytes)) all.push(['base64', Buffer.from(text)]);
        for (const text of base64(digest)) all.push(['SHA-256 in base64', Buffer.from(text)]);
    }
    return all;
}

export class Scanner {
    #needles = [];

    constructor(identifiers) {
        for (const identifier of identifiers) {
            if (Buffer.byteLength(identifier) < SHORTEST) throw new Error(`${identifier} is too short to be looked for`);
            for (const [kind, bytes] of forms(identifier)) this.#needles.push({ identifier, kind, bytes });
        }
    }

    // What is found where: `{identifier, kind}`, each once.
    scan(bytes) {
        const found = new Map();
        for (const part of [Buffer.from(bytes), ...certificates(bytes)]) {
            for (const needle of this.#needles) {
                if (part.includes(needle.bytes)) {
                    found.set(`${needle.identifier} ${needle.kind}`, { identifier: needle.identifier, kind: needle.kind });
                }
            }
        }
        return [...found.values()];
    }
}

// Certificates travel as PEM, whose line breaks hide what is in them.
function certificates(bytes) {
    const text = Buffer.from(bytes).toString('latin1');
    const pems = text.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----/g) ?? [];
    return [...new Set(pems)].map((pem) => Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64'));
}
