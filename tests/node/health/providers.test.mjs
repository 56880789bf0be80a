// The registry, from the view of a hospital, the regulator, an insurer and whoever asks.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { StatusCode } from '@hyperledger/fabric-gateway';
import { disconnect, eventually } from '../lib/members.mjs';
import { DAY, fresh, now, organizationCode, salt, sha256 } from '../lib/numbers.mjs';
import { Actor, commits } from './lib/actors.mjs';
import { certifier, facilities, inspector } from './lib/registry.mjs';
import { assertNothingLeaks, eventsOf } from './lib/story.mjs';

after(disconnect);

const clerk = new Actor('hospital', 'records');
const clinicClerk = new Actor('clinic', 'records');
const adjudicator = new Actor('insurer', 'adjudicator');
const anybody = new Actor('waste', 'carrier');

const pid = fresh('pid');
const credId = fresh('cred');
const person = { name: 'Dr Yolanda Quackenbush', licenceNo: '110110000098765', contact: 'yolanda@quackenbush.example', salt: salt() };
const application = { credId, pid, role: 'physician', facility: facilities().hospital, attestHash: sha256(fresh('diploma')) };

// What the registry says to somebody who has nothing to do with it: ACTIVE, or why not.
async function standing(question = {}) {
    const answer = await anybody.asks('providers', 'Check', { pid, org: 'HospitalMSP', role: 'physician', ...question });
    return answer.active ? 'ACTIVE' : answer.reason;
}
const verification = (more = {}) => ({ credId, validTo: now() + 365 * DAY, sourceHash: sha256(fresh('register')), ...more });
const reason = (reasonCode) => ({ credId, reasonCode });

test('a physician is applied for, verified, suspended, reinstated and revoked', async () => {
    assert.equal(await standing(), 'UNKNOWN');
    await new Actor('hospital', 'physician').isRefused('providers', 'ApplyCredential', application, 403, 'WRONG_ROLE', { transient: { person } });
    await clinicClerk.isRefused('providers', 'ApplyCredential', application, 403, 'NOT_OWN_FACILITY', { transient: { person } });
    await clerk.isRefused('providers', 'ApplyCredential', application, 400, 'MALFORMED');
    const requestId = fresh('request');
    const applied = await clerk.does('providers', 'ApplyCredential', application, { transient: { person }, requestId });
    assert.deepEqual(applied, { id: credId, state: 'Applied' });
    // The answer was lost on the way: the same request again changes nothing, another one is refused.
    const again = await clerk.does('providers', 'ApplyCredential', application, { transient: { person }, requestId, silent: true });
    assert.deepEqual(again, applied);
    await clerk.isRefused('providers', 'ApplyCredential', { ...application, role: 'nurse' }, 409, 'REQUEST_ID_REUSED', { transient: { person }, requestId });
    await clerk.isRefused('providers', 'ApplyCredential', application, 409, 'DUPLICATE', { transient: { person } });
    assert.equal(await standing(), 'NOT_VERIFIED');

    await clerk.isRefused('providers', 'VerifyCredential', verification(), 403, 'WRONG_ORG');
    await inspector.isRefused('providers', 'VerifyCredential', verification(), 403, 'WRONG_ROLE');
    await certifier.isRefused('providers', 'VerifyCredential', verification({ validTo: now() - DAY }), 422, 'PERIOD');
    assert.deepEqual(await certifier.does('providers', 'VerifyCredential', verification()), { id: credId, state: 'Active' });
    assert.equal(await standing(), 'ACTIVE');
    assert.equal(await standing({ facility: facilities().hospital }), 'ACTIVE');
    assert.equal(await standing({ facility: facilities().clinic }), 'OTHER_FACILITY');
    assert.equal(await standing({ role: 'implant' }), 'UNKNOWN');
    assert.equal(await standing({ org: 'ClinicMSP' }), 'UNKNOWN');
    assert.equal(await standing({ org: 'CitizenMSP' }), 'ORG_UNKNOWN');

    await certifier.does('providers', 'SuspendCredential', reason('MISCONDUCT'));
    assert.equal(await standing(), 'SUSPENDED');
    await certifier.isRefused('providers', 'SuspendCredential', reason('MISCONDUCT'), 409, 'BAD_STATE');
    await certifier.isRefused('providers', 'RenewCredential', verification({ validTo: now() + 730 * DAY }), 409, 'BAD_STATE');
    await inspector.does('providers', 'ReinstateCredential', reason('CLEARED'));
    assert.equal(await standing(), 'ACTIVE');
    // Whoever asks about the past is told what was committed then.
    assert.equal(await standing({ at: now() - DAY }), 'ORG_UNKNOWN');

    await certifier.does('providers', 'RenewCredential', verification({ validTo: now() + 730 * DAY }));
    await inspector.does('providers', 'RevokeCredential', reason('RETIRED'));
    assert.equal(await standing(), 'REVOKED');
    await certifier.isRefused('providers', 'ReinstateCredential', reason('CLEARED'), 409, 'BAD_STATE');
    const credential = await adjudicator.asks('providers', 'ReadCredential', { credId });
    assert.deepEqual([credential.state, credential.reason, credential.role], ['Revoked', 'RETIRED', 'physician']);
    assert.deepEqual(credential.before.map(({ state }) => state), ['Applied', 'Active', 'Suspended', 'Active', 'Active']);
    const listed = await anybody.asks('providers', 'ListCredentials', { pid });
    assert.deepEqual(listed.entries.map(({ id }) => id), [credId]);
});

test('who the physician is, regulator and applicant read at their peers, until it is purged', async () => {
    for (const reader of [clerk, certifier, inspector]) {
        assert.deepEqual(await eventually(() => reader.asks('providers', 'ReadPerson', { credId })), person);
    }
    await clinicClerk.isNotAnswered('providers', 'ReadPerson', { credId }, 403, 'NOT_APPLICANT');
    await adjudicator.isNotAnswered('providers', 'ReadPerson', { credId }, 403, 'WRONG_ORG');
    // A peer that is no member of the collection has nothing to tell, also to those who may ask.
    await inspector.isNotAnswered('providers', 'ReadPerson', { credId }, 404, 'PRIVATE_DATA_NOT_HERE', { at: ['waste'] });
    await inspector.isRefused('providers', 'PurgePerson', { credId }, 403, 'WRONG_ROLE');
    await certifier.does('providers', 'PurgePerson', { credId });
    for (const reader of [clerk, certifier]) {
        await reader.isNotAnswered('providers', 'ReadPerson', { credId }, 404, 'PRIVATE_DATA_NOT_HERE');
    }
    assert.equal((await certifier.asks('providers', 'ReadCredential', { credId })).state, 'Revoked');
});

test('a suspension counts for what was endorsed before it', async () => {
    const [other, otherPid] = [fresh('cred'), fresh('pid')];
    const asked = { ...application, credId: other, pid: otherPid };
    await clerk.does('providers', 'ApplyCredential', asked, { transient: { person: { ...person, salt: salt() } } });
    const verifies = await certifier.endorses('providers', 'VerifyCredential', verification({ credId: other }));
    await certifier.does('providers', 'RevokeCredential', { credId: other, reasonCode: 'FORGED' });
    assert.equal(await commits(verifies), StatusCode.MVCC_READ_CONFLICT);
    assert.equal(await standing({ pid: otherPid }), 'REVOKED');
});

const distributor = { msp: 'DistributorMSP' };
const licence = { ...distributor, no: fresh('L') };

test('an organization and its licence are granted and suspended', async () => {
    const registration = { ...distributor, scheme: 'USCC', identifier: organizationCode() };
    const check = async (scope) => {
        const answer = await anybody.asks('providers', 'CheckOrganization', { ...distributor, ...(scope && { scope }) });
        return answer.active ? 'ACTIVE' : answer.reason;
    };
    assert.equal(await check(), 'UNKNOWN');
    await clerk.isRefused('providers', 'RegisterOrg', registration, 403, 'WRONG_ORG');
    await certifier.isRefused('providers', 'RegisterOrg', { ...registration, identifier: '121100004000000015' }, 422, 'BAD_IDENTIFIER');
    await certifier.isRefused('providers', 'RegisterOrg', { ...registration, msp: 'StrangerMSP' }, 422, 'UNKNOWN_ORG');
    await certifier.isRefused('providers', 'RegisterOrg', { ...registration, identifier: '121100004000000014' }, 409, 'DUPLICATE');
    await certifier.does('providers', 'RegisterOrg', registration);
    const granted = { ...licence, scopes: ['devices'], validTo: now() + 365 * DAY, sourceHash: sha256(fresh('permit')) };
    await certifier.does('providers', 'GrantLicence', granted);
    assert.equal(await check('devices'), 'ACTIVE');
    assert.equal(await check('care'), 'UNLICENSED');
    await inspector.does('providers', 'SuspendLicence', { ...licence, reasonCode: 'AUDIT' });
    assert.equal(await check(), 'ACTIVE');
    assert.equal(await check('devices'), 'LICENCE_SUSPENDED');
    await inspector.does('providers', 'SuspendOrg', { ...distributor, reasonCode: 'AUDIT' });
    assert.equal(await check(), 'SUSPENDED');
    await certifier.isRefused('providers', 'GrantLicence', { ...granted, no: fresh('L') }, 422, 'ORG_INACTIVE');
    const org = await anybody.asks('providers', 'ReadOrg', distributor);
    assert.deepEqual([org.state, org.licences[0].state, org.licences[0].issuer], ['Suspended', 'Suspended', 'RegulatorMSP']);
});

const phone = '+86 10 5550 7719';

test('of a fact about a practitioner, one organization confirms what another proposes', async () => {
    const field = { pid, field: 'phone' };
    await clerk.does('providers', 'ProposeField', field, { transient: { field: { value: phone, salt: salt() } } });
    const listed = await anybody.asks('providers', 'ListFields', { pid });
    const { commit } = listed.entries[0].proposed;
    await clerk.isRefused('providers', 'ConfirmField', { ...field, commit }, 403, 'SELF_CONFIRM');
    await adjudicator.isRefused('providers', 'ConfirmField', { ...field, commit: sha256('another') }, 422, 'COMMIT_MISMATCH');
    const seen = await eventually(() => adjudicator.asks('providers', 'ReadField', field));
    assert.equal(seen.proposedValue, phone);
    await adjudicator.does('providers', 'ConfirmField', { ...field, commit });
    assert.equal((await certifier.asks('providers', 'ReadField', field)).confirmedValue, phone);
    await anybody.isNotAnswered('providers', 'ReadField', field, 403, 'WRONG_ORG');
});

test('a client whose clock is wrong is told so', async () => {
    const facility = { id: fresh('facility'), area: '110105', scopes: ['care'] };
    for (const ahead of [-400, 400]) {
        await clerk.isRefused('providers', 'RegisterFacility', facility, 400, 'CLOCK_SKEW', { ahead });
    }
    await clerk.isRefused('providers', 'RegisterFacilities', facility, 400, 'UNKNOWN_FUNCTION');
    await clerk.isRefused('providers', 'RegisterFacility', { ...facility, name: 'St. Elsewhere' }, 400, 'MALFORMED');
    await clerk.isRefused('providers', 'RegisterFacility', { ...facility, scopes: ['D001'] }, 422, 'UNLICENSED');
});

test('everybody is told what happened, and nobody who it was', async () => {
    const events = await eventsOf('providers');
    assert.deepEqual(events.map(({ name }) => name), [
        'CredentialApplied', 'CredentialActive', 'CredentialSuspended', 'CredentialReinstated', 'CredentialRenewed',
        'CredentialRevoked', 'PersonPurged', 'CredentialApplied', 'CredentialRevoked', 'OrgRegistered', 'LicenceGranted',
        'LicenceSuspended', 'OrgSuspended', 'FieldProposed', 'FieldConfirmed',
    ]);
    assert.deepEqual(events[2], { name: 'CredentialSuspended', id: credId, state: 'Suspended', org: 'RegulatorMSP', ref: 'MISCONDUCT' });
    const secrets = [person.name, 'Quackenbush', person.licenceNo, person.contact, person.salt, phone];
    await assertNothingLeaks(secrets, credId);
});
