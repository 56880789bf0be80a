// What happened to something, in order: when, what it was then, who signed, and the transaction.

import { h } from './dom.js';
import { get } from './session.js';
import { moment, t } from './words.js';

/** Entries whose signers are looked up; the rest has its link. */
const LOOKED_UP = 50;
/** Of a state that an entry holds as a whole (`unit`, `card`, …), or beside its time. */
const TOLD = ['holder', 'grams', 'reason', 'receiver', 'suspendedBy', 'facility'];

/** Whether a list is the history of one thing: each entry has a transaction and a time. */
export const isHistory = (list) => list.length > 0
  && list.every((one) => typeof one.txId === 'string' && typeof one.at === 'number' && stateOf(one).state !== undefined);

function stateOf(entry) {
  if (entry.state !== undefined) return entry;
  return Object.values(entry).find((value) => value !== null && typeof value === 'object') ?? {};
}

/** An ordered list of entries, which are oldest first: several of one second stay in their order. */
export function timeline(title, entries) {
  const ordered = [...entries].sort((one, other) => one.at - other.at);
  return h('ol', { class: 'timeline', 'aria-label': title }, ordered.map((entry, index) => {
    const state = stateOf(entry);
    const more = TOLD.filter((name) => state[name] !== undefined && state[name] !== null && typeof state[name] !== 'object')
      .map((name) => `${t(name)}: ${state[name]}`);
    const signer = h('span', { class: 'signer' });
    if (index < LOOKED_UP) sign(signer, entry.txId);
    return h('li', {},
      h('time', { datetime: new Date(entry.at * 1000).toISOString() }, moment(entry.at)), ' ',
      h('strong', {}, String(state.state)),
      more.length ? ` · ${more.join(' · ')}` : '',
      h('br'), signer, ' ',
      h('a', { href: `#/transaction/${encodeURIComponent(entry.txId)}`, class: 'code' }, `${entry.txId.slice(0, 16)}…`));
  }));
}

/** Fills in who signed a transaction, and which function it called. */
async function sign(place, txId) {
  try {
    const one = await get(`transactions/${encodeURIComponent(txId)}`);
    place.textContent = `${t('creator')} ${one.creator} · ${one.function}`;
  } catch { /* The link is there all the same. */ }
}
