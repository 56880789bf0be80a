// npm's fabric-ca-client, unmodified and through every call, against `fabric-ca-server` with two
// authorities.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import FabricCAServices from 'fabric-ca-client';
import { User, Utils } from 'fabric-common';

const consilium = process.env.CONSILIUM;
const home = mkdtempSync(path.join(tmpdir(), 'consilium-ca-'));
let server;
let url;
let tls;
let ca;
let admin;

const freePort = () =>
  new Promise((resolve, reject) => {
    const listener = createServer().on('error', reject);
    listener.listen(0, '127.0.0.1', () => {
      const { port } = listener.address();
      listener.close(() => resolve(port));
    });
  });

const userOf = (name, { certificate, key }) =>
  User.createUser(name, '', 'Org1MSP', certificate, key.toBytes());

const enrol = async (enrollmentID, enrollmentSecret, at = ca) =>
  userOf(enrollmentID, await at.enroll({ enrollmentID, enrollmentSecret }));

const refusal = (code, message) => (error) => {
  const [refused] = error.errors ?? JSON.parse(String(error).match(/\[\{.*\}\]/)[0]);
  assert.equal(refused.code, code, String(error));
  if (message) assert.match(refused.message, message);
  return true;
};

// Until it says on stderr that it listens.
const listening = (child) =>
  new Promise((resolve, reject) => {
    let said = '';
    const timer = setTimeout(() => reject(new Error(`no line after a minute: ${said}`)), 60_000);
    child.stderr.on('data', (data) => {
      said += data;
      if (said.includes('Listening on https://')) {
        clearTimeout(timer);
        resolve();
      }
    });
    child.on('exit', (code) => reject(new Error(`ended with ${code}: ${said}`)));
  });

before(async () => {
  // Its own three seconds are few where other tests compile.
  Utils.setConfigSetting('connection-timeout', 60_000);
  const port = await freePort();
  const line = ['fabric-ca-server', 'start', '-H', home, '-b', 'admin:adminpw', '-p', `${port}`,
    '--address', '127.0.0.1', '--tls.enabled', '--csr.hosts', 'localhost,127.0.0.1',
    '-n', 'ca-main', '--cacount', '1', '--cfg.identities.allowremove',
    '--cfg.affiliations.allowremove'];
  const env = { ...process.env, FABRIC_CA_SERVER_OPERATIONS_LISTENADDRESS: '127.0.0.1:0' };
  server = spawn(consilium, line, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  await listening(server);
  url = `https://localhost:${port}`;
  tls = { trustedRoots: [readFileSync(path.join(home, 'ca-cert.pem'))], verify: true };
  ca = new FabricCAServices(url, tls, 'ca-main');
  admin = await enrol('admin', 'adminpw');
});

after(() => {
  server?.kill();
  rmSync(home, { recursive: true, force: true });
});

test('identities are added, shown, changed, listed and removed', async () => {
  const identities = ca.newIdentityService();
  const secret = await identities.create(
    { enrollmentID: 'nurse', affiliation: 'org1.department1', type: 'client', enrollmentSecret: 'pw',
      maxEnrollments: 3, attrs: [{ name: 'ward', value: '7', ecert: true }] },
    admin,
  );
  assert.equal(secret, 'pw');
  const { result } = await identities.getOne('nurse', admin);
  assert.equal(result.id, 'nurse');
  assert.equal(result.affiliation, 'org1.department1');
  assert.equal(result.max_enrollments, 3);
  assert.deepEqual(result.attrs.find(({ name }) => name === 'ward'), { name: 'ward', value: '7', ecert: true });

  const changed = await identities.update(
    'nurse', { affiliation: 'org2', type: 'user', attrs: [{ name: 'ward', value: '' }], enrollmentSecret: 'new' }, admin);
  assert.equal(changed.result.affiliation, 'org2');
  assert.ok(!changed.result.attrs.some(({ name }) => name === 'ward'));
  assert.equal(changed.result.secret, 'new');
  await assert.rejects(enrol('nurse', 'pw'), /Authentication failure/);
  const nurse = await enrol('nurse', 'new');

  const all = await identities.getAll(admin);
  assert.equal(all.success, true);
  assert.deepEqual(all.result.identities.map(({ id }) => id), ['admin', 'nurse']);
  await assert.rejects(identities.getAll(nurse), refusal(71));
  await assert.rejects(identities.getOne('nobody', admin), refusal(63, /Failed to get User/));
  await assert.rejects(identities.update('nurse', { affiliation: 'org9' }, admin), refusal(58));
  await assert.rejects(identities.delete('admin', admin), refusal(56));

  const removed = await identities.delete('nurse', admin, true);
  assert.equal(removed.result.id, 'nurse');
  await assert.rejects(identities.getOne('nurse', admin), refusal(63));
  await assert.rejects(ca.reenroll(nurse), /Authentication failure/, 'its certificate is revoked');
});

test('a list of more than one page arrives whole', async () => {
  const identities = ca.newIdentityService();
  const many = Array.from({ length: 105 }, (_, number) => `many${number}`);
  await Promise.all(many.map((enrollmentID) =>
    identities.create({ enrollmentID, affiliation: 'org1', enrollmentSecret: 'x' }, admin)));
  const { result } = await identities.getAll(admin);
  assert.equal(new Set(result.identities.map(({ id }) => id)).size, 106);
  assert.equal(result.caname, 'ca-main');
});

test('affiliations are added, shown, renamed and removed', async () => {
  const affiliations = ca.newAffiliationService();
  await assert.rejects(affiliations.create({ name: 'clinic.surgery.a' }, admin), refusal(63));
  const added = await affiliations.create({ name: 'clinic.surgery.a', force: true }, admin);
  assert.equal(added.result.name, 'clinic.surgery.a');
  await assert.rejects(affiliations.create({ name: 'clinic' }, admin), refusal(60, /already exists/));
  const { result } = await affiliations.getOne('clinic', admin);
  assert.equal(result.affiliations[0].affiliations[0].name, 'clinic.surgery.a');
  const all = await affiliations.getAll(admin);
  assert.deepEqual(all.result.affiliations.map(({ name }) => name), ['clinic', 'org1', 'org2']);

  await ca.register({ enrollmentID: 'surgeon', affiliation: 'clinic.surgery', role: 'client' }, admin);
  await assert.rejects(affiliations.update('clinic.surgery', { name: 'clinic.theatre' }, admin), refusal(64));
  const renamed = await affiliations.update('clinic.surgery', { name: 'clinic.theatre', force: true }, admin);
  assert.equal(renamed.result.identities[0].affiliation, 'clinic.theatre');
  assert.equal(renamed.result.affiliations[0].name, 'clinic.theatre.a');
  await assert.rejects(affiliations.delete({ name: 'clinic.theatre' }, admin), refusal(71));
  const removed = await affiliations.delete({ name: 'clinic.theatre', force: true }, admin);
  assert.equal(removed.result.identities[0].id, 'surgeon');
  await assert.rejects(affiliations.getOne('clinic.theatre', admin), refusal(63));
});

test('certificates are listed and revoked, and a list names the revoked ones', async () => {
  const certificates = ca.newCertificateService();
  const secret = await ca.register({ enrollmentID: 'leaver', affiliation: 'org1', role: 'client', maxEnrollments: 0 }, admin);
  const first = await ca.enroll({ enrollmentID: 'leaver', enrollmentSecret: secret });
  const second = await ca.enroll({ enrollmentID: 'leaver', enrollmentSecret: secret });
  const found = await certificates.getCertificates({ id: 'leaver', notrevoked: true, notexpired: true }, admin);
  assert.deepEqual(found.result.certs.map(({ PEM }) => PEM), [first.certificate, second.certificate]);
  await assert.rejects(
    certificates.getCertificates({ notexpired: true, expired_end: '+1d' }, admin), refusal(67));

  const { serialNumber, issuerCertificate } = new X509Certificate(first.certificate);
  assert.equal(issuerCertificate, undefined);
  const aki = spawnSync('openssl', ['x509', '-noout', '-ext', 'authorityKeyIdentifier'],
    { input: first.certificate, encoding: 'utf8' }).stdout.split('\n')[1].trim().replace(/^keyid:/i, '');
  const revoked = await ca.revoke({ serial: serialNumber, aki, gencrl: true }, admin);
  const named = [{ Serial: serialNumber.toLowerCase().replace(/^0+/, ''), AKI: aki.toLowerCase().replaceAll(':', '').replace(/^0+/, '') }];
  assert.deepEqual(revoked.result.RevokedCerts, named);
  await assert.rejects(ca.revoke({ serial: serialNumber, aki }, admin), refusal(66));
  await assert.rejects(ca.reenroll(userOf('leaver', first)), /Authentication failure/);
  await ca.reenroll(userOf('leaver', second));

  const rest = await ca.revoke({ enrollmentID: 'leaver', reason: 'superseded' }, admin);
  assert.equal(rest.result.RevokedCerts.length, 2);
  await assert.rejects(enrol('leaver', secret), /Authentication failure/);
  await assert.rejects(ca.revoke({ enrollmentID: 'nobody' }, admin), refusal(10));

  const crl = Buffer.from(await ca.generateCRL({}, admin), 'base64').toString();
  const shown = spawnSync('openssl', ['crl', '-noout', '-text', '-CAfile', path.join(home, 'ca-cert.pem')],
    { input: crl, encoding: 'utf8' });
  assert.match(shown.stderr, /verify OK/);
  assert.ok(shown.stdout.replaceAll(/[^0-9A-Fa-f]/g, '').toUpperCase().includes(serialNumber));
  await assert.rejects(
    ca.generateCRL({ revokedBefore: new Date(0), revokedAfter: new Date() }, admin), refusal(36));
});

test('a second authority in the server has its own identities', async () => {
  const other = new FabricCAServices(url, tls, 'ca1');
  const info = await other.getCaInfo(admin);
  assert.equal(info.caName, 'ca1');
  assert.match(new X509Certificate(info.caChain).subject, /CN=fabric-ca-server-ca1/);
  await assert.rejects(other.newIdentityService().getAll(admin), /Authentication failure/);
  const registrar = await enrol('admin', 'adminpw', other);
  const { result } = await other.newIdentityService().getAll(registrar);
  assert.deepEqual(result.identities.map(({ id }) => id), ['admin']);
});

test('idemix is refused in so many words', async () => {
  const answer = await fetchJson(`${url}/idemix/credential`);
  assert.equal(answer.success, false);
  assert.match(answer.errors[0].message, /no Idemix credentials/);
});

const fetchJson = async (address) => {
  const { request } = await import('node:https');
  return new Promise((resolve, reject) => {
    const asked = request(address, { method: 'POST', ca: tls.trustedRoots[0] }, (response) => {
      let text = '';
      response.on('data', (data) => { text += data; });
      response.on('end', () => resolve(JSON.parse(text)));
    });
    asked.on('error', reject).end('{}');
  });
};
