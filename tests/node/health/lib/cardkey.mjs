// A health card's key.

import { createHash, createPublicKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

const base64url = (value) => Buffer.from(typeof value === 'string' || Buffer.isBuffer(value) ? value : JSON.stringify(value)).toString('base64url');

// It never leaves the card: what it signs is a compact JWS (RFC 7515, ES256).
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
