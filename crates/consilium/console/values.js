// Answers of contracts, whatever their shape: objects as names and values, lists of objects as tables,
// what happened as a timeline.

import { h, facts, table } from './dom.js';
import { isHistory, timeline } from './timeline.js';
import { moment, t } from './words.js';

const TIMES = /^(at|from|to|until|time|seconds|due|since|opened|closed|timestamp|start|end|asOf|validTo|validFrom|.*At)$/;
const YEAR_2000 = 946684800;
const YEAR_2200 = 7258118400;
const COLUMNS = 12;
const IN_CELL = 6;
/** Amounts of the contract of costs, in 1/10 000 of the currency. */
const MONEY = new Set(['unitPrice', 'amount', 'total', 'net', 'allowed', 'paid', 'patient', 'payment', 'charged', 'uncharged',
  'unclaimed', 'submitted', 'pending', 'disallowed', 'billed', 'received', 'dueFromInsurer', 'dueFromPatient', 'writtenOff',
  'open', 'owed', 'toPay', 'returned', 'share', 'rate', 'residue']);

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const isNothing = (value) => value === null || value === undefined || value === '';
const isPlain = (value) => !isObject(value) && !(Array.isArray(value) && value.some(isObject));
const isList = (value) => Array.isArray(value) && value.length > 0 && value.every(isObject);

/** `camelCase` as words. */
const spoken = (name) => t(name) !== name ? t(name)
  : name.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();

/** How values look: `currency` where amounts are money, `hidden` are names that say nothing to people,
 * `first` are names in the order of their use, before all others. */
const PLAIN = { currency: null, hidden: [], first: [] };

function plain(name, value, view) {
  if (typeof value === 'number' && TIMES.test(name) && value > YEAR_2000 && value < YEAR_2200) {
    return h('time', { datetime: new Date(value * 1000).toISOString() }, moment(value));
  }
  if (typeof value === 'number' && view.currency && MONEY.has(name)) return money(value, view.currency);
  if (typeof value === 'boolean') return t(value ? 'isTrue' : 'isFalse');
  if (name === 'txId' || name === 'tx') {
    return h('a', { href: `#/transaction/${encodeURIComponent(value)}`, class: 'code' }, `${String(value).slice(0, 16)}…`);
  }
  if (typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)) {
    return h('span', { class: 'code', title: value }, `${value.slice(0, 16)}…`);
  }
  return String(value);
}

/** Ten thousandths of a currency as people write them; four digits only where they say something. */
function money(value, currency) {
  const digits = value % 100 === 0 ? 2 : 4;
  return `${(value / 10000).toLocaleString(document.documentElement.lang, { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${currency}`;
}

/** One value in a line or a cell. */
function shown(name, value, view) {
  if (isNothing(value)) return null;
  if (Array.isArray(value)) {
    if (value.length === 0) return '–';
    return isList(value) ? h('ul', { class: 'plain' }, value.map((one) => h('li', {}, pairs(one, view))))
      : value.map((one, index) => [index ? ', ' : '', plain(name, one, view)]);
  }
  return isObject(value) ? pairs(value, view) : plain(name, value, view);
}

const isEmpty = (value) => isNothing(value) || (Array.isArray(value) && value.length === 0);
const place = (name, view) => (view.first.includes(name) ? view.first.indexOf(name) : view.first.length);
const entriesOf = (object, view) => Object.entries(object)
  .filter(([name, value]) => !isEmpty(value) && !view.hidden.includes(name))
  .sort(([one], [other]) => place(one, view) - place(other, view));

const pairs = (object, view) => facts(entriesOf(object, view)
  .map(([name, value]) => [spoken(name), shown(name, value, view)]));

function rows(name, list, view) {
  const columns = [...new Set(list.flatMap((one) => entriesOf(one, view).map(([column]) => column)))];
  return table(spoken(name), columns.map(spoken), list.map((row) => columns.map((column) => shown(column, row[column], view))));
}

/** A list of objects: what happened, a table, or, of those that have parts, one below the other. */
function listed(name, list, level, view) {
  if (isHistory(list)) return timeline(spoken(name), list);
  const fits = (value) => !isList(value) && (!isObject(value)
    || (Object.keys(value).length <= IN_CELL && Object.values(value).every(isPlain)));
  const entries = list.flatMap((one) => entriesOf(one, view));
  const deep = entries.some(([, value]) => !fits(value));
  const wide = new Set(entries.map(([column]) => column)).size > COLUMNS;
  if (!deep && !wide) return rows(name, list, view);
  return list.map((one, index) => {
    const which = one.id ?? one.no ?? one.seq ?? one.n ?? index + 1;
    return h('div', { class: 'part' }, h(`h${level}`, {}, `${spoken(name)} ${which}`), parts(one, Math.min(level + 1, 6), view));
  });
}

/** An object: its plain values first, then its parts under headings of their own. */
function parts(object, level, view) {
  const entries = entriesOf(object, view);
  const simple = entries.filter(([, value]) => isPlain(value));
  const complex = entries.filter(([, value]) => !isPlain(value));
  return [
    simple.length ? facts(simple.map(([name, value]) => [spoken(name), shown(name, value, view)])) : [],
    complex.map(([name, value]) => {
      const body = isList(value) ? listed(name, value, level + 1, view)
        : isObject(value) ? parts(value, Math.min(level + 1, 6), view) : shown(name, value, view);
      return h('div', { class: 'part' }, h(`h${level}`, {}, spoken(name)), body);
    }),
  ];
}

/** A whole answer under a heading. `view` is `{currency?, hidden?}`. */
export function answer(title, value, view = {}) {
  const how = { ...PLAIN, ...view };
  const entries = isObject(value) ? entriesOf(value, how) : [];
  const only = entries.length === 1 ? entries[0] : null;
  const body = isEmpty(value) || (isObject(value) && entries.length === 0) ? h('p', {}, t('nothing'))
    : only && isList(only[1]) ? listed(only[0], only[1], 3, how)
      : isList(value) ? listed(title, value, 3, how)
        : isObject(value) ? parts(value, 3, how) : h('p', {}, shown(title, value, how));
  return h('section', { 'aria-label': title }, h('h2', {}, title), body);
}
