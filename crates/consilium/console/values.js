// Answers of contracts, whatever their shape: objects as names and values, lists of objects as tables.

import { h, facts, table } from './dom.js';
import { moment, t } from './words.js';

const TIMES = /^(at|from|to|until|time|seconds|due|since|opened|closed|timestamp|validTo|validFrom|.*At)$/;
const YEAR_2000 = 946684800;
const YEAR_2200 = 7258118400;

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

/** `camelCase` as words. */
const spoken = (name) => t(name) !== name ? t(name)
  : name.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();

function plain(name, value) {
  if (typeof value === 'number' && TIMES.test(name) && value > YEAR_2000 && value < YEAR_2200) {
    return h('time', { datetime: new Date(value * 1000).toISOString() }, moment(value));
  }
  if (name === 'txId' || name === 'tx') {
    return h('a', { href: `#/transaction/${encodeURIComponent(value)}`, class: 'code' }, `${String(value).slice(0, 16)}…`);
  }
  return String(value);
}

/** One value under its name. */
export function shown(name, value) {
  if (value === null || value === undefined || value === '') return null;
  if (Array.isArray(value)) {
    if (value.length === 0) return '–';
    return value.every(isObject) ? listed(name, value) : value.map(String).join(', ');
  }
  return isObject(value) ? facts(Object.entries(value).map(([key, inner]) => [spoken(key), shown(key, inner)]))
    : plain(name, value);
}

function listed(name, rows) {
  const columns = [...new Set(rows.flatMap(Object.keys))];
  return table(spoken(name), columns.map(spoken),
    rows.map((row) => columns.map((column) => shown(column, row[column]))));
}

/** A whole answer under a heading. */
export function answer(title, value) {
  const body = Array.isArray(value) && value.every(isObject) && value.length > 0 ? listed(title, value)
    : Array.isArray(value) && value.length === 0 ? h('p', {}, t('nothing'))
      : shown(title, value) ?? h('p', {}, t('nothing'));
  return h('section', { 'aria-label': title }, h('h2', {}, title), body);
}
