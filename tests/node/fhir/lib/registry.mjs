// The registry of practitioners, as far as one physician at one organization needs it.

import { eventually, msp } from '../../lib/members.mjs';
import { DAY, fresh, now, organizationCode, salt, sha256 } from '../../lib/numbers.mjs';

const validTo = () => now() + 365 * DAY;

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
    const person = { name: fresh('Dr Somebody'), licenceNo: fresh('no'), salt: salt() };
    await does(clerk, 'ApplyCredential', { credId, pid, role: 'physician', facility, attestHash: sha256('diploma') }, { person: JSON.stringify(person) });
    await does(certifier, 'VerifyCredential', { credId, validTo: validTo(), sourceHash: sha256('register') });
    return credId;
}
