// Pages for people: each asks contracts questions under the identity that is signed in.

import { h, form } from './dom.js';
import { evaluate, me } from './session.js';
import { answer } from './values.js';
import { t } from './words.js';

const compact = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== ''));
/** What serves proofs, not people. */
const TECHNICAL = ['salt', 'commit', 'page', 'proof', 'key'];

/**
 * A page with a form of fields, which puts what was asked into the address, and shows the answers.
 * A question has `label`, `contract`, `name`, `args`, and perhaps `when` (of what was given; else every
 * required field), `absent` (404 is an answer: there is none), `newestFirst`, and `view` of the answer.
 */
function asking(title, fields, questions) {
  return async (main, query, signal) => {
    const given = { ...defaults(fields), ...Object.fromEntries(new URLSearchParams(query)) };
    main.append(form(t(title), fields.map((field) => ({
      ...field, text: field.required === false ? `${t(field.name)} (${t('optional')})` : t(field.name), value: given[field.name] ?? '',
    })), t('show'), (values) => {
      const wanted = `#/${title}?${new URLSearchParams(compact(values))}`;
      if (location.hash === wanted) dispatchEvent(new HashChangeEvent('hashchange'));
      else location.hash = wanted;
    }));
    const complete = fields.every((field) => field.required === false || given[field.name]);
    for (const question of questions) {
      if (question.when ? !question.when(given) : !complete) continue;
      const section = await asked(question, given);
      if (signal.aborted) return;
      main.append(section);
    }
  };
}

/** Who has a pseudonym asks about themselves first. */
const defaults = (fields) => fields.some(({ name }) => name === 'sid') && me()?.sid ? { sid: me().sid } : {};

async function asked({ label, contract, name, args, absent, newestFirst, view }, given) {
  try {
    const value = await evaluate(contract, name, args(given));
    if (newestFirst) value.reverse();
    return answer(t(label), value, typeof view === 'function' ? view(value) : { hidden: TECHNICAL, ...view });
  } catch (error) {
    const missing = absent && error.status === 404;
    return h('section', { 'aria-label': t(label), class: missing ? null : 'refusal' }, h('h2', {}, t(label)),
      h('p', {}, missing ? t('nothing') : `${t('refused')}: ${error.message}`));
  }
}

const unit = ({ di, lot, serial }) => ({ unit: compact({ di, lot: lot ?? '', serial }) });

export const device = asking('device',
  [{ name: 'di' }, { name: 'lot', required: false }, { name: 'serial' }],
  [{ label: 'journey', contract: 'devices', name: 'TraceUnit', args: unit, view: { first: ['history', 'recalls', 'scans', 'unit'] } }]);

export const patient = asking('patient', [{ name: 'sid' }], [
  { label: 'consents', contract: 'records', name: 'ListConsents', args: ({ sid }) => ({ sid }) },
  { label: 'whoRead', contract: 'records', name: 'Accounting', args: ({ sid }) => ({ sid }) },
]);

export const card = asking('card', [{ name: 'sid', required: false }, { name: 'handle', required: false }], [
  { label: 'cards', contract: 'card', name: 'CardsOf', args: ({ sid }) => ({ sid }), when: ({ sid }) => sid },
  { label: 'card', contract: 'card', name: 'ReadCard', args: ({ handle }) => ({ handle }), when: ({ handle }) => handle },
  { label: 'history', contract: 'card', name: 'CardHistory', args: ({ handle }) => ({ handle }), when: ({ handle }) => handle, absent: true, newestFirst: true },
  { label: 'bindings', contract: 'card', name: 'Bindings', args: ({ handle }) => ({ handle }), when: ({ handle }) => handle, absent: true },
]);

export const claim = asking('claim', [{ name: 'episode' }], [{
  label: 'chain', contract: 'costs', name: 'TraceCost', args: ({ episode }) => ({ epi: episode }),
  view: ({ episode }) => ({ currency: episode.currency, hidden: TECHNICAL, first: ['sums', 'claims', 'charges'] }),
}]);

/** What has to be done, then what was signed. */
const WAY = { first: ['late', 'flags', 'legs', 'history', 'bag', 'manifest'] };

export const waste = asking('waste', [{ name: 'manifest', required: false }, { name: 'bag', required: false }], [
  { label: 'way', contract: 'waste', name: 'Trace', args: ({ manifest }) => ({ no: manifest }), when: ({ manifest }) => manifest, view: WAY },
  { label: 'wayOfBag', contract: 'waste', name: 'Trace', args: ({ bag }) => ({ bag }), when: ({ bag }) => bag, view: WAY },
  { label: 'overdue', contract: 'waste', name: 'Overdue', args: () => ({}), when: () => true, view: { hidden: ['more'] } },
  { label: 'openFlags', contract: 'waste', name: 'Flags', args: () => ({}), when: () => true },
]);

export const recalls = asking('recalls', [{ name: 'recall' }], [
  { label: 'recall', contract: 'devices', name: 'ReadRecall', args: ({ recall }) => ({ no: recall }) },
  { label: 'affected', contract: 'devices', name: 'Affected', args: ({ recall }) => ({ no: recall }) },
]);

const application = ({ application: dar }) => ({ dar });
const grant = ({ application: id }) => ({ grant: id });

export const research = asking('research', [{ name: 'application' }], [
  { label: 'request', contract: 'research', name: 'ReadRequest', args: application },
  { label: 'grant', contract: 'research', name: 'ReadGrant', args: grant, absent: true },
  { label: 'uses', contract: 'research', name: 'UseLog', args: grant, absent: true },
]);
