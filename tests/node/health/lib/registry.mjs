// The registry that the stories share: organizations with licences and a facility each, and practitioners
// whose credentials are in force.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { dir } from '../../lib/network.mjs';
import { DAY, fresh, now, salt, sha256 } from '../../lib/numbers.mjs';
import { Actor } from './actors.mjs';

export const file = path.join(dir, 'health-tests.json');
// What `setup.mjs` has left: the id of a facility by organization.
export const facilities = () => JSON.parse(readFileSync(file, 'utf8')).facilities;

export const certifier = new Actor('regulator', 'certifier');
export const inspector = new Actor('regulator', 'inspector');
export const auditor = new Actor('regulator', 'auditor');

// Who may apply for credentials at an organization.
const clerks = { hospital: new Actor('hospital', 'records'), clinic: new Actor('clinic', 'records'), research: new Actor('research', 'curator') };

// A credential in force for a role (or a right, as `implant`); gives its id.
export async function credential(org, pid, role) {
    const credId = fresh('cred');
    const person = { name: fresh('Dr Somebody'), licenceNo: fresh('licence'), salt: salt() };
    const application = { credId, pid, role, facility: facilities()[org], attestHash: sha256(fresh('diploma')) };
    await clerks[org].does('providers', 'ApplyCredential', application, { transient: { person }, silent: true });
    const verification = { credId, validTo: now() + 365 * DAY, sourceHash: sha256(fresh('register')) };
    await certifier.does('providers', 'VerifyCredential', verification, { silent: true });
    return credId;
}

// Somebody with a credential in force for their role at their organization, and for further rights.
export async function practitioner(org, role, ...rights) {
    const actor = new Actor(org, role, { 'hc.pid': fresh('pid') });
    actor.credentials = {};
    // One after the other: an application reads all credentials of its practitioner.
    for (const right of [role, ...rights]) actor.credentials[right] = await credential(org, actor.pid, right);
    return actor;
}

export const suspends = (credId, reasonCode = 'MISCONDUCT') =>
    certifier.does('providers', 'SuspendCredential', { credId, reasonCode }, { silent: true });
export const reinstates = (credId) =>
    certifier.does('providers', 'ReinstateCredential', { credId, reasonCode: 'CLEARED' }, { silent: true });

