// What a client finds out before it knows anybody.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CapabilityTool, Client } from 'fhir-kit-client';
import { base, raw, smartClient } from './lib/clients.mjs';
import { gatewayOf, person } from './lib/people.mjs';

test('the capability statement says R4, JSON, and what is served', async () => {
    const statement = await new Client({ baseUrl: base('clinic') }).capabilityStatement();
    assert.deepEqual([statement.resourceType, statement.fhirVersion], ['CapabilityStatement', '4.0.1']);
    const tool = new CapabilityTool(statement);
    for (const type of ['Patient', 'Observation', 'Consent', 'AuditEvent', 'Provenance', 'DeviceDefinition']) {
        assert.ok(tool.resourceCan(type, 'read') && tool.resourceCan(type, 'search-type'), type);
    }
    assert.ok(tool.serverCan('transaction') && tool.serverCan('batch'));
    assert.ok(tool.resourceCan('Observation', 'history-instance'));
    assert.ok(!tool.resourceCan('AuditEvent', 'create') && !tool.resourceCan('Observation', 'delete'));
});

// This client asks for both and takes what is answered first.
test('the token endpoint is found by SMART’s configuration, and by the capability statement', async () => {
    const { rest: [{ security }] } = await new Client({ baseUrl: base('clinic') }).capabilityStatement();
    const [{ extension: [uri] }] = security.extension;
    assert.deepEqual([uri.url, uri.valueUri], ['token', `${gatewayOf('clinic')}/oauth2/token`]);
    const found = await new Client({ baseUrl: base('clinic') }).smartAuthMetadata();
    assert.equal(found.tokenUrl.href, `${gatewayOf('clinic')}/oauth2/token`);
    const answer = await fetch(`${base('clinic')}/.well-known/smart-configuration`);
    const configuration = await answer.json();
    assert.deepEqual(configuration.token_endpoint_auth_methods_supported, ['private_key_jwt']);
    assert.deepEqual(configuration.grant_types_supported, ['client_credentials']);
    assert.ok(configuration.capabilities.includes('client-confidential-asymmetric'));
});

test('fhirclient finds release and types by itself', async () => {
    const client = await smartClient(await person('clinic', 'physician'));
    assert.equal(await client.getFhirVersion(), '4.0.1');
    assert.equal(await client.getFhirRelease(), 4);
});

test('every organization has a surface, which says its own address', async () => {
    for (const org of ['hospital', 'maker', 'regulator', 'clinic', 'insurer', 'waste', 'research', 'citizen']) {
        const { status, body } = await raw(org, 'GET', '/metadata');
        assert.deepEqual([status, body.implementation.url], [200, base(org)]);
    }
});
