// The page: signing in, the way from an address to a page, language.

import { h, form } from './dom.js';
import * as ledger from './ledger.js';
import * as people from './people.js';
import { Refused, signIn, signOut } from './session.js';
import { language, switchLanguage, t } from './words.js';

const $ = (id) => document.getElementById(id);

/** Pages in the order of the menu; `roles` are those that the page is of use for, any when missing. */
const PAGES = [
  { path: 'consortium', show: (main) => ledger.consortium(main) },
  { path: 'live', show: (main, _, __, signal) => ledger.live(main, signal, tell) },
  { path: 'blocks', show: (main, rest, query) => rest ? ledger.block(main, rest) : ledger.blocks(main, rest, query) },
  { path: 'contracts', show: (main) => ledger.contracts(main) },
  { path: 'transaction', hidden: true, show: (main, rest) => ledger.transaction(main, rest) },
  { path: 'device', show: asking(people.device) },
  { path: 'recalls', show: asking(people.recalls) },
  { path: 'patient', roles: ['patient', 'guardian', 'auditor', 'physician', 'nurse', 'dpo'], show: asking(people.patient) },
  {
    path: 'card', show: asking(people.card),
    roles: ['issuer', 'patient', 'guardian', 'records', 'nurse', 'physician', 'billing', 'adjudicator', 'auditor'],
  },
  {
    path: 'claim', show: asking(people.claim),
    roles: ['billing', 'records', 'physician', 'dpo', 'adjudicator', 'cashier', 'fraud', 'inspector', 'auditor', 'patient'],
  },
  { path: 'waste', roles: ['waste', 'carrier', 'disposer', 'environment', 'inspector', 'auditor'], show: asking(people.waste) },
  { path: 'research', roles: ['investigator', 'curator', 'ethics', 'dpo', 'records', 'auditor'], show: asking(people.research) },
];

function asking(page) {
  return (main, _, query, signal) => page(main, query, signal);
}

let member = null;
let leaving = new AbortController();

function tell(text) {
  $('status').textContent = text;
}

const visible = () => PAGES.filter((page) => !page.hidden
  && (!page.roles || !member?.role || page.roles.includes(member.role)));

function frame() {
  document.documentElement.lang = language();
  $('skip').textContent = t('skip');
  $('language').textContent = t('language');
  $('leave').textContent = t('signOut');
  $('leave').hidden = !member;
  $('who').textContent = member ? `${member.name} · ${member.msp}${member.role ? ` · ${member.role}` : ''}` : '';
  const nav = $('nav');
  nav.hidden = !member;
  nav.setAttribute('aria-label', t('pages'));
  const [path] = place();
  nav.replaceChildren(...(member ? visible() : []).map((page) => h('a', {
    href: `#/${page.path}`, 'aria-current': page.path === path ? 'page' : null,
  }, t(page.path))));
}

/** Page, the rest of the path, and the query of the address. */
function place() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [page, rest] = path.split('/');
  return [page || 'consortium', rest && decoded(rest), query];
}

/** Whoever writes an address may write it wrong: then it is taken as it stands. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function welcome(main) {
  const problem = h('p', { role: 'alert', class: 'refusal', hidden: true });
  main.append(h('p', {}, t('signInHelp')), form(t('signIn'), [
    { name: 'name', text: t('name') }, { name: 'key', text: t('key'), type: 'file' },
  ], t('signIn'), async (values) => {
    problem.hidden = true;
    try {
      member = await signIn(values.name.trim(), await values.key.text());
      await show();
    } catch (error) {
      problem.hidden = false;
      problem.textContent = error.message === 'no-key' ? t('noKey') : `${t('refused')}: ${error.message}`;
    }
  }), problem);
}

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  frame();
  const [path, rest, query] = place();
  const page = PAGES.find((one) => one.path === path) ?? PAGES[0];
  const title = member ? `${t(page.path)}${rest ? ` ${rest}` : ''}` : t('signIn');
  document.title = `${title} · Consilium`;
  const main = $('main');
  const content = h('div', { class: 'page' });
  main.replaceChildren(h('h1', {}, title), content);
  if (!member) {
    welcome(content);
    return;
  }
  tell(t('loading'));
  try {
    await page.show(content, rest, query, signal);
    tell('');
  } catch (error) {
    if (signal.aborted) return;
    tell('');
    const reason = error instanceof Refused ? t('refused') : t('failed');
    content.append(h('p', { role: 'alert', class: 'refusal' }, `${reason}: ${error.message}`));
  }
}

// The address is the page's name, so the link moves the focus itself.
$('skip').addEventListener('click', (event) => { event.preventDefault(); $('main').focus(); });
$('language').addEventListener('click', () => { switchLanguage(); show(); });
$('leave').addEventListener('click', () => { signOut(); member = null; show(); });
addEventListener('hashchange', () => { show().then(() => { scrollTo(0, 0); $('main').focus({ preventScroll: true }); }); });
show();
