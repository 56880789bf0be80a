// Pages about the ledger: consortium, live charts, blocks, transactions, contracts.

import { h, facts, table } from './dom.js';
import { follow, get } from './session.js';
import { moment, t } from './words.js';
import uPlot from './uPlot.esm.js';

const DAY = 86400;
const KEPT = 300;

const blockLink = (number) => h('a', { href: `#/blocks/${number}` }, String(number));
const transactionLink = (id) => h('a', { href: `#/transaction/${id}`, class: 'code' }, `${id.slice(0, 16)}…`);

export async function consortium(main) {
  const seen = await get('consortium');
  const days = (until) => Math.floor((until - Date.now() / 1000) / DAY);
  main.append(
    facts([[t('channel'), seen.channel], [t('height'), String(seen.height)]]),
    table(t('organizations'), [t('organization'), t('rootsUntil'), t('daysLeft')],
      seen.organizations.map((one) => [one.msp, moment(one.rootsUntil), String(days(one.rootsUntil))])),
    table(t('peers'), [t('node'), t('organization'), t('height'), t('runs')],
      seen.peers.map((one) => [one.endpoint, one.msp, String(one.height), one.contracts.join(', ')])),
    table(t('orderers'), [t('node'), t('organization')],
      seen.orderers.map((one) => [one.endpoint, one.msp])));
}

const blockRow = (one) => [
  blockLink(one.number), moment(one.time), String(one.transactions),
  one.invalid ? h('strong', {}, String(one.invalid)) : '0', String(one.bytes), h('span', { class: 'code' }, `${one.hash.slice(0, 16)}…`),
];

export async function blocks(main, _, query) {
  const page = await get(`blocks?${query}`);
  main.append(table(t('blocks'),
    [t('block'), t('time'), t('transactions'), t('invalid'), t('bytes'), t('hash')], page.blocks.map(blockRow)));
  const last = page.blocks.at(-1)?.number;
  if (last > 0) main.append(h('p', {}, h('a', { href: `#/blocks?before=${last}` }, t('older'))));
}

export async function block(main, number) {
  const one = await get(`blocks/${encodeURIComponent(number)}`);
  main.append(
    facts([
      [t('time'), moment(one.time)],
      [t('hash'), h('span', { class: 'code' }, one.hash)],
      [t('previous'), one.number > 0 ? h('a', { href: `#/blocks/${one.number - 1}`, class: 'code' }, one.previous) : null],
    ]),
    table(t('transactions'), [t('transaction'), t('type'), t('contract'), t('called'), t('creator'), t('validation')],
      one.entries.map((entry) => [
        entry.id ? transactionLink(entry.id) : '', entry.kind, entry.contract, entry.function, entry.creator, entry.validation,
      ])));
}

export async function transaction(main, id) {
  const one = await get(`transactions/${encodeURIComponent(id)}`);
  main.append(facts([
    [t('block'), blockLink(one.block)], [t('time'), moment(one.time)], [t('validation'), one.validation],
    [t('creator'), one.creator], [t('contract'), one.contract], [t('called'), one.function],
    [t('endorsers'), one.endorsers.join(', ')], [t('event'), one.event],
  ]));
  for (const space of one.namespaces) {
    main.append(h('section', { 'aria-label': space.name }, h('h2', {}, `${t('namespace')} ${space.name}`),
      space.reads.length ? table(t('reads'), [t('name'), t('version')], space.reads.map((read) => [read.key, read.version])) : '',
      space.writes.length ? table(t('writes'), [t('name'), t('value')],
        space.writes.map((write) => [write.key, write.deleted ? t('deleted') : h('code', {}, write.value)])) : '',
      space.collections.length ? table(t('collections'), [t('name'), t('hash')],
        space.collections.map((one) => [one.name, h('span', { class: 'code' }, one.hash)])) : ''));
  }
}

export async function contracts(main) {
  const { contracts: all } = await get('contracts');
  main.append(table(t('contracts'), [t('contract'), t('version'), t('sequence'), t('policy'), t('collections')],
    all.map((one) => [one.name, one.version, String(one.sequence), one.policy, one.collections.join(', ')])));
}

function chart(main, title, series) {
  const place = h('figure', {}, h('figcaption', {}, title));
  main.append(place);
  const ink = getComputedStyle(document.body).color;
  const plot = new uPlot({
    width: Math.min(900, main.clientWidth - 16), height: 180, legend: { show: false }, cursor: { show: false },
    axes: [{ stroke: ink }, { stroke: ink, size: 60 }],
    series: [{}, { stroke: '#0b8a7d', width: 2, points: { show: false } }],
  }, series, place);
  return plot;
}

export function live(main, signal, tell) {
  const columns = { at: [], rate: [], size: [], latency: [] };
  const rate = chart(main, t('perSecond'), [[], []]);
  const size = chart(main, t('blockSize'), [[], []]);
  const latency = chart(main, t('latency'), [[], []]);
  const list = h('ol', { class: 'feed', 'aria-label': t('newBlock') });
  main.append(list);
  let previous = null;
  follow((one) => {
    const at = one.seen;
    const passed = previous === null ? 1 : Math.max(at - previous, 0.05);
    previous = at;
    columns.at.push(at);
    columns.rate.push(one.transactions / passed);
    columns.size.push(one.transactions);
    columns.latency.push(Math.max(0, one.seen - one.time));
    Object.values(columns).forEach((column) => { if (column.length > KEPT) column.shift(); });
    rate.setData([columns.at, columns.rate]);
    size.setData([columns.at, columns.size]);
    latency.setData([columns.at, columns.latency]);
    const conflicts = one.conflicts ? `, ${t('conflicts')}: ${one.conflicts}` : '';
    list.prepend(h('li', {}, blockLink(one.number), ` ${moment(one.seen)} · ${t('transactions')}: ${one.transactions}${conflicts}`));
    while (list.children.length > 20) list.lastChild.remove();
    tell(`${t('newBlock')} ${one.number}`);
  }, signal);
}
