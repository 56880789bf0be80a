// Numbers of nobody that pass the checks of their standards.

import { createHash, createHmac, createPublicKey, generateKeyPairSync, randomBytes, randomInt, sign } from 'node:crypto';

const digits = (count) => String(randomInt(10 ** count)).padStart(count, '0');

// A unified social credit code (GB 32100).
export function organizationCode() {
    const alphabet = '0123456789ABCDEFGHJKLMNPQRTUWXY';
    const head = `91110000${digits(9)}`;
    let [sum, weight] = [0, 1];
    for (const character of head) {
        sum = (sum + alphabet.indexOf(character) * weight) % 31;
        weight = (weight * 3) % 31;
    }
    return head + alphabet[(31 - sum) % 31];
}

// A resident's number (GB 11643) of somebody born on that day, `YYYY-MM-DD`.
export function residentNumber(birth) {
    const head = `110105${birth.replaceAll('-', '')}${digits(3)}`;
    const sum = [...head].reduce((total, digit, n) => total + Number(digit) * (2 ** (17 - n) % 11), 0);
    return head + '10X98765432'[sum % 11];
}

// A GTIN-14.
export function gtin() {
    const head = `0${digits(12)}`;
    const sum = [...head].reduce((total, digit, n) => total + Number(digit) * (n % 2 === 0 ? 3 : 1), 0);
    return head + String((10 - (sum % 10)) % 10);
}

// A manifest's number of China, of this year (危险废物转移管理办法).
export const manifestNumber = () => `${new Date().getUTCFullYear()}1100${String(randomInt(1, 10 ** 6)).padStart(6, '0')}`;

// A pseudonym in a sector: what a card bureau computes from its key and a document's number.
export function pseudonymOf(key, idType, idNo) {
    const mac = createHmac('sha256', Buffer.from(key, 'hex')).update(idType).update(Buffer.from([0x1f])).update(idNo).digest();
    const bits = [...mac].map((byte) => byte.toString(2).padStart(8, '0')).join('');
    return Array.from({ length: 26 }, (_, n) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[parseInt(bits.slice(5 * n, 5 * n + 5), 2)]).join('');
}

const base64url = (value) => Buffer.from(typeof value === 'string' || Buffer.isBuffer(value) ? value : JSON.stringify(value)).toString('base64url');

// A health card's key, which never leaves the card: what it signs is a compact JWS (RFC 7515, ES256).
export class CardKey {
    #private;

    constructor() {
        const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
        this.#private = privateKey;
        const { kty, crv, x, y } = createPublicKey(privateKey).export({ format: 'jwk' });
        this.jwk = { kty, crv, x, y };
        // RFC 7638.
        this.thumbprint = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
    }

    #sign(typ, payload) {
        const header = base64url({ alg: 'ES256', typ, kid: this.thumbprint });
        const signature = sign('sha256', Buffer.from(`${header}.${base64url(payload)}`), { key: this.#private, dsaEncoding: 'ieee-p1363' });
        return [header, base64url(payload), signature.toString('base64url')];
    }

    // Shown at `aud` for a minute from `iat` on.
    token(sub, aud, { iat = Math.floor(Date.now() / 1000), jti = randomBytes(8).toString('hex') } = {}) {
        return this.#sign('hc-card+jwt', { sub, aud, iat, exp: iat + 60, jti }).join('.');
    }

    // A detached signature over a text.
    signsContent(content) {
        const [header, , signature] = this.#sign('hc-content+jws', content);
        return `${header}..${signature}`;
    }
}
