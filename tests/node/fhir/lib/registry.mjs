// The registry of practitioners, as far as one physician at one organization needs it.

import { createHash, randomInt } from 'node:crypto';
import { eventually } from './clients.mjs';
import { fresh, msp } from './people.mjs';

const DAY = 86_400;
const sha256 = (text) => createHash('sha256').update(text).digest('hex');
const validTo = () => Math.floor(Date.now() / 1000) + 365 * DAY;

// A unified social credit code of nobody, with its check character (GB 32100).
function organizationCode() {
    const alphabet = '0123456789ABCDEFGHJKLMNPQRTUWXY';
    const head = `91110000${String(randomInt(10 ** 9)).padStart(9, '0')}`;
    let [sum, weight] = [0, 1];
    for (const character of head) {
        sum = (sum + alphabet.indexOf(character) * weight) % 31;
        weight = (weight * 3) % 31;
    }
    return head + alphabet[(31 - sum) % 31];
}

// Registers the organization, once in a network's life, with a licence for care and a facility, and a
// physician there; the id of the credential.
export async function credential(certifier, clerk, org, pid) {
    const does = (who, call, args, transient) => eventually(() => who.does('providers', call, args, { transient }));
    await certifier.does('providers', 'RegisterOrg', { msp: msp(org), scheme: 'USCC', identifier: organizationCode() })
        .catch((error) => { if (!/DUPLICATE/.test(error.message)) throw error; });
    await does(certifier, 'GrantLicence', { msp: msp(org), no: fresh('licence'), scopes: ['care'], validTo: validTo(), sourceHash: sha256('licence') });
    const facility = fresh('facility');
    await does(clerk, 'RegisterFacility', { id: facility, area: '110105', scopes: ['care'] });
    const credId = fresh('cred');
    const person = { name: fresh('Dr Somebody'), licenceNo: fresh('no'), salt: 'f'.repeat(32) };
    await does(clerk, 'ApplyCredential', { credId, pid, role: 'physician', facility, attestHash: sha256('diploma') }, { person: JSON.stringify(person) });
    await does(certifier, 'VerifyCredential', { credId, validTo: validTo(), sourceHash: sha256('register') });
    return credId;
}
