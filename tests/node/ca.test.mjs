// Fabric's own CA client (npm fabric-ca-client), unmodified, against an authority of the network.

import assert from 'node:assert/strict';
import { X509Certificate, createPrivateKey, randomBytes } from 'node:crypto';
import { before, test } from 'node:test';

import FabricCAServices from 'fabric-ca-client';
import { User } from 'fabric-common';

import { authority } from './lib/network.mjs';

const { url, name: caName, root, registrar, secret: registrarSecret } = authority('hospital');
const tls = { trustedRoots: [root], verify: true };
const unique = (name) => `${name}-${randomBytes(4).toString('hex')}`;

let ca;
let admin;

const userOf = (name, { certificate, key }) =>
  User.createUser(name, '', 'HospitalMSP', certificate, key.toBytes());

// The attribute extension holds JSON as it is, so its text can be found in the certificate.
const attributesOf = (certificate) => {
  const raw = new X509Certificate(certificate).raw.toString('latin1');
  const found = raw.match(/\{"attrs":\{.*?\}\}/s);
  return found ? JSON.parse(found[0]).attrs : null;
};

const refusal = (code, message) => (error) => {
  assert.deepEqual(error.errors, [{ code, message }], String(error));
  assert.equal(error.success, false);
  return true;
};

before(async () => {
  ca = new FabricCAServices(url, tls, caName);
  const enrollment = await ca.enroll({
    enrollmentID: registrar,
    enrollmentSecret: registrarSecret,
  });
  admin = userOf(registrar, enrollment);
});

test('the authority says its name and its chain', async () => {
  const info = await ca.getCaInfo(admin);
  assert.equal(info.caName, caName);
  assert.equal(new X509Certificate(info.caChain).ca, true);
  assert.match(info.version, /^\d+\.\d+\.\d+$/);
});

test('a registered user enrols, and its certificate says who it is', async () => {
  const id = unique('user');
  const secret = await ca.register(
    {
      enrollmentID: id,
      affiliation: 'org1.department1',
      role: 'client',
      attrs: [
        { name: 'specialty', value: 'cardiology', ecert: true },
        { name: 'shift', value: 'night' },
      ],
    },
    admin,
  );
  const enrollment = await ca.enroll({ enrollmentID: id, enrollmentSecret: secret });
  const certificate = new X509Certificate(enrollment.certificate);
  const issuer = new X509Certificate(enrollment.rootCertificate);
  assert.ok(certificate.verify(issuer.publicKey));
  assert.ok(certificate.checkPrivateKey(createPrivateKey(enrollment.key.toBytes())));
  for (const part of [`CN=${id}`, 'OU=client', 'OU=org1', 'OU=department1']) {
    assert.ok(certificate.subject.includes(part), `${part} in ${certificate.subject}`);
  }
  assert.deepEqual(attributesOf(enrollment.certificate), {
    'hf.Affiliation': 'org1.department1',
    'hf.EnrollmentID': id,
    'hf.Type': 'client',
    specialty: 'cardiology',
  });
});

test('attributes enter the certificate as asked for', async () => {
  const id = unique('user');
  const secret = await ca.register(
    {
      enrollmentID: id,
      role: 'client',
      maxEnrollments: -1,
      attrs: [{ name: 'shift', value: 'night' }],
    },
    admin,
  );
  const enrol = (attr_reqs) =>
    ca.enroll({ enrollmentID: id, enrollmentSecret: secret, attr_reqs });
  const chosen = await enrol([{ name: 'shift', optional: false }]);
  assert.deepEqual(attributesOf(chosen.certificate), { shift: 'night' });
  const without = await enrol([{ name: 'absent', optional: true }]);
  assert.deepEqual(attributesOf(without.certificate), {});
  await assert.rejects(enrol([{ name: 'absent', optional: false }]), /absent/);
});

test('an identity enrols again with its certificate', async () => {
  const id = unique('user');
  const secret = await ca.register({ enrollmentID: id, role: 'client' }, admin);
  const first = await ca.enroll({ enrollmentID: id, enrollmentSecret: secret });
  const second = await ca.reenroll(userOf(id, first));
  const [old, renewed] = [first, second].map((e) => new X509Certificate(e.certificate));
  assert.equal(renewed.subject, old.subject);
  assert.notEqual(renewed.serialNumber, old.serialNumber);
  assert.ok(renewed.checkPrivateKey(createPrivateKey(second.key.toBytes())));
});

test('the tls profile gives a certificate for both sides of TLS', async () => {
  const id = unique('peer');
  const secret = await ca.register({ enrollmentID: id, role: 'peer' }, admin);
  const { certificate } = await ca.enroll({
    enrollmentID: id,
    enrollmentSecret: secret,
    profile: 'tls',
  });
  const usage = new X509Certificate(certificate).keyUsage;
  assert.deepEqual(usage.sort(), ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
});

test('refusals carry the codes that the client knows', async () => {
  const id = unique('user');
  const secret = await ca.register({ enrollmentID: id, role: 'client' }, admin);
  const wrong = { enrollmentID: id, enrollmentSecret: 'wrong' };
  await assert.rejects(ca.enroll(wrong), /Authentication failure/);
  const right = { enrollmentID: id, enrollmentSecret: secret };
  const user = userOf(id, await ca.enroll(right));
  await assert.rejects(ca.enroll(right), /Authentication failure/, 'the secret served once');
  await assert.rejects(
    ca.register({ enrollmentID: id, role: 'client' }, admin),
    refusal(74, `Identity '${id}' is already registered`),
  );
  await assert.rejects(
    ca.register({ enrollmentID: unique('user'), role: 'client' }, user),
    refusal(71, 'Authorization failure'),
  );
  const elsewhere = new FabricCAServices(url, tls, 'no-such-ca');
  await assert.rejects(elsewhere.enroll(right), /CA 'no-such-ca' does not exist/);
});

test('a client that does not trust the root does not talk', async () => {
  const stranger = new FabricCAServices(url, { trustedRoots: [], verify: true }, caName);
  const attempt = stranger.enroll({
    enrollmentID: registrar,
    enrollmentSecret: registrarSecret,
  });
  await assert.rejects(attempt, /certificate/);
});
