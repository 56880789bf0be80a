// Looks for identifiers in any bytes: as they are, in hexadecimal digits, in base64, and as bare SHA-256;
// and reads every block for it.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { common } from '@hyperledger/fabric-protos';
import { channelName, gateway } from './network.mjs';

const PATIENCE = 30_000;

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

// Every form of an identifier that is looked for, with what it is. Of a short one base64 is in random
// bytes by chance.
function forms(identifier, short) {
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
        if (!short) for (const text of base64(bytes)) all.push(['base64', Buffer.from(text)]);
        for (const text of base64(digest)) all.push(['SHA-256 in base64', Buffer.from(text)]);
    }
    return all;
}

const joins = (byte) => byte !== undefined && /[A-Za-z0-9-]/.test(String.fromCharCode(byte));

// Whether bytes hold a word with neither letters nor digits around it.
function holdsWord(bytes, word) {
    for (let at = bytes.indexOf(word); at >= 0; at = bytes.indexOf(word, at + 1)) {
        if (!joins(bytes[at - 1]) && !joins(bytes[at + word.length])) return true;
    }
    return false;
}

export class Scanner {
    #needles = [];

    // Identifiers with fewer bytes than `whole` are looked for as whole words: a code such as `785-6` is
    // in some random ids by chance.
    constructor(identifiers, { whole = 0 } = {}) {
        for (const identifier of identifiers) {
            if (Buffer.byteLength(identifier) < SHORTEST) throw new Error(`${identifier} is too short to be looked for`);
            const short = Buffer.byteLength(identifier) < whole;
            for (const [kind, bytes] of forms(identifier, short)) {
                this.#needles.push({ identifier, kind, bytes, asWord: short && kind === 'plain' });
            }
        }
    }

    // What is found where: `{identifier, kind}`, each once.
    scan(bytes) {
        const found = new Map();
        for (const part of [Buffer.from(bytes), ...certificates(bytes)]) {
            for (const needle of this.#needles) {
                if (needle.asWord ? holdsWord(part, needle.bytes) : part.includes(needle.bytes)) {
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

// Runs `work` on a stream that ends by itself after a while.
export async function reading(stream, work) {
    const timer = setTimeout(() => stream.close(), PATIENCE);
    try {
        return await work(stream);
    } finally {
        clearTimeout(timer);
        stream.close();
    }
}

// Looks at the bytes of every block that the peer of an organization has; gives their number.
export async function eachBlock(org, look) {
    const observer = gateway(org);
    try {
        const network = observer.getNetwork(channelName);
        const info = await network.getContract('qscc').evaluateTransaction('GetChainInfo', channelName);
        const height = common.BlockchainInfo.deserializeBinary(info).getHeight();
        const read = await reading(await network.getBlockEvents({ startBlock: 0n }), async (stream) => {
            let number = 0;
            for await (const block of stream) {
                assert.equal(block.getHeader().getNumber(), number);
                look(Buffer.from(block.serializeBinary()), number);
                number += 1;
                if (number === height) break;
            }
            return number;
        });
        assert.equal(read, height);
        return height;
    } finally {
        observer.close();
    }
}
