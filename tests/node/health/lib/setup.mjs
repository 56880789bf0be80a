// What all stories have in common, once for a network: who is licensed for what, and every contract asks
// the registry.

import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { disconnect, msp } from '../../lib/members.mjs';
import { DAY, fresh, now, sha256 } from '../../lib/numbers.mjs';
import { Actor } from './actors.mjs';
import { certifier, file } from './registry.mjs';

const WASTE = ['841-001-01', '841-002-01', '841-005-01', 'D001'];
// By organization: number, area, scopes, and who registers its facility.
const licensed = {
    hospital: ['USCC', '121100004000000014', '110105', ['care', 'implant', 'research'], 'records'],
    clinic: ['USCC', '12310000425000002P', '310104', ['care', 'implant'], 'records'],
    research: ['USCC', '52100000500000003D', '110108', ['research'], 'curator'],
    waste: ['USCC', '91350100M000100Y43', '350100', WASTE, 'disposer'],
    insurer: ['NPI', '1578387320', 'US-MA', ['insurance']],
    maker: ['USCC', '91310000MA1F00000U', '310115', ['devices']],
};
const configurations = {
    records: { registry: 'providers', cardContract: 'card' },
    devices: { registry: 'providers', wasteContract: 'waste' },
    costs: { registry: 'providers', devicesContract: 'devices' },
    waste: { registry: 'providers' },
    card: { registry: 'providers' },
    research: { registry: 'providers' },
};

async function setUp() {
    const does = (name, args) => certifier.does('providers', name, args);
    const orgs = Object.entries(licensed);
    await Promise.all([
        ...orgs.map(([org, [scheme, identifier]]) => does('RegisterOrg', { msp: msp(org), scheme, identifier })),
        ...Object.entries(configurations).map(async ([contract, configuration]) => {
            await new Actor('hospital', 'records').isRefused(contract, 'Configure', configuration, 403, 'WRONG_ORG');
            const answer = await certifier.does(contract, 'Configure', configuration);
            assert.deepEqual(answer, { id: 'config', state: 'Active' });
        }),
    ]);
    await Promise.all(orgs.map(([org, [, , , scopes]]) => does('GrantLicence', {
        msp: msp(org), no: 'L-1', scopes, validTo: now() + 3650 * DAY, sourceHash: sha256(fresh('permit')),
    })));
    const facilities = {};
    await Promise.all(orgs.map(async ([org, [, , area, scopes, role]]) => {
        if (!role) return;
        facilities[org] = fresh(org);
        await new Actor(org, role).does('providers', 'RegisterFacility', { id: facilities[org], area, scopes });
    }));
    writeFileSync(file, JSON.stringify({ facilities }));
}

if (!existsSync(file)) await setUp();
disconnect();
