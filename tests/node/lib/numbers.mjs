// Values of nobody: random ids, times, and numbers that pass the checks of their standards.

import { createHash, createHmac, randomBytes, randomInt } from 'node:crypto';

// A random id, so that a test finds nothing of an earlier one.
export const fresh = (name) => `${name}-${randomBytes(6).toString('hex')}`;
export const salt = () => randomBytes(16).toString('hex');
export const now = () => Math.floor(Date.now() / 1000);
export const DAY = 86_400;
// The day so many days from now, as `YYYY-MM-DD`.
export const day = (days = 0) => new Date(Date.now() + days * DAY * 1000).toISOString().slice(0, 10);
// SHA-256 in hexadecimal digits.
export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
export const digits = (count) => String(randomInt(10 ** count)).padStart(count, '0');

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

// A pseudonym: 26 characters of base32.
export const pseudonym = () => [...randomBytes(26)].map((byte) => BASE32[byte & 31]).join('');

// A pseudonym in a sector: what its key, in hexadecimal digits, makes of a document's number.
export function pseudonymOf(key, idType, idNo) {
    const mac = createHmac('sha256', Buffer.from(key, 'hex')).update(`${idType}\x1f${idNo}`).digest();
    const bits = [...mac].map((byte) => byte.toString(2).padStart(8, '0')).join('');
    return Array.from({ length: 26 }, (_, n) => BASE32[parseInt(bits.slice(5 * n, 5 * n + 5), 2)]).join('');
}

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
