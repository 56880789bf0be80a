// Who is signed in, and asking the gateway. The key never leaves this page: it signs an assertion
// (RFC 7523), for which the gateway gives a token of a few minutes.

const ALGORITHMS = [
  { alg: 'ES256', curve: 'P-256', hash: 'SHA-256' },
  { alg: 'ES384', curve: 'P-384', hash: 'SHA-384' },
];
const SCOPE = 'user/*.cruds';

let member = null;
let token = null;
/** The token that is on its way. */
let coming = null;
let known = null;

const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
const encode = (value) => base64url(new TextEncoder().encode(JSON.stringify(value)));

/** A refusal with what the gateway said. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function importKey(pem) {
  const body = pem.match(/-----BEGIN PRIVATE KEY-----([\s\S]+?)-----END PRIVATE KEY-----/);
  if (!body) throw new Refused(0, 'no-key');
  const bytes = Uint8Array.from(atob(body[1].replace(/\s/g, '')), (c) => c.charCodeAt(0));
  for (const kind of ALGORITHMS) {
    try {
      const key = await crypto.subtle.importKey(
        'pkcs8', bytes, { name: 'ECDSA', namedCurve: kind.curve }, false, ['sign'],
      );
      return { key, ...kind };
    } catch { /* the other curve */ }
  }
  throw new Refused(0, 'no-key');
}

async function assertion({ name, key, alg, hash }) {
  const now = Math.floor(Date.now() / 1000);
  const unsigned = `${encode({ alg, typ: 'JWT' })}.${encode({
    iss: name, sub: name, aud: new URL('../oauth2/token', location.href).href, exp: now + 120, jti: crypto.randomUUID(),
  })}`;
  const signature = await crypto.subtle.sign({ name: 'ECDSA', hash }, key, new TextEncoder().encode(unsigned));
  return `${unsigned}.${base64url(signature)}`;
}

/** One token for all who need it at the same time. */
function renew() {
  if (!coming) {
    const mine = newToken(member).finally(() => { if (coming === mine) coming = null; });
    coming = mine;
  }
  return coming;
}

async function newToken(owner) {
  const response = await fetch('../oauth2/token', {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      scope: SCOPE,
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: await assertion(owner),
    }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Refused(response.status, answer.error_description ?? answer.error);
  // Who has left meanwhile must not leave a token to who comes next.
  if (member !== owner) throw new Refused(401, 'signed out');
  token = { value: answer.access_token, until: Date.now() + (answer.expires_in - 30) * 1000 };
}

/** Signs in as `name` with a private key in PEM; gives what the gateway knows about the member. */
export async function signIn(name, pem) {
  member = { name, ...await importKey(pem) };
  token = null;
  coming = null;
  try {
    known = await get('session');
    return known;
  } catch (error) {
    member = null;
    throw error;
  }
}

/** What the gateway knows about the member who is signed in: `{name, msp, role, sid, channel}`. */
export const me = () => (member ? known : null);

/** Forgets key and token. */
export function signOut() {
  member = null;
  token = null;
  coming = null;
  known = null;
}

async function call(path, options = {}) {
  if (!member) throw new Refused(401, 'signed out');
  const send = async () => {
    if (!token || Date.now() > token.until) await renew();
    return fetch(`../api/${path}`, {
      ...options,
      headers: { ...options.headers, authorization: `Bearer ${token.value}` },
    });
  };
  let response = await send();
  if (response.status === 401) {
    // A gateway that was started again knows no tokens of before.
    token = null;
    response = await send();
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  throw new Refused(response.status, answer.message ?? response.statusText);
}

/** Asks for a JSON document. */
export const get = async (path) => (await call(path)).json();

/** Asks a contract a question; nothing is ordered. */
export const evaluate = async (contract, name, args) => (await call('evaluate', {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ contract, function: name, args }),
})).json();

/** Calls `each` with every new block until `signal` ends it; connects again after failures. */
export async function follow(each, signal) {
  while (!signal.aborted) {
    try {
      const response = await call('live', { signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        const lines = text.split('\n');
        text = lines.pop();
        lines.filter((line) => line.startsWith('data:')).forEach((line) => each(JSON.parse(line.slice(5))));
      }
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
    }
    await new Promise((resume) => { setTimeout(resume, 1000); });
  }
}
