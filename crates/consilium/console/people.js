// Pages for people: each asks contracts a question under the identity that is signed in.

import { h, form } from './dom.js';
import { evaluate } from './session.js';
import { answer } from './values.js';
import { t } from './words.js';

const compact = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== ''));

/** A page with a form of fields, which puts what was asked into the address, and shows the answers. */
function asking(title, fields, questions) {
  return async (main, query) => {
    const given = Object.fromEntries(new URLSearchParams(query));
    main.append(form(title, fields.map((field) => ({
      ...field, text: t(field.name), value: given[field.name] ?? '',
    })), t('show'), (values) => {
      location.hash = `#/${title}?${new URLSearchParams(compact(values))}`;
    }));
    if (fields.some((field) => field.required !== false && !given[field.name])) return;
    for (const { label, contract, name, args } of questions) {
      try {
        main.append(answer(t(label), await evaluate(contract, name, args(given))));
      } catch (error) {
        main.append(h('section', { 'aria-label': t(label), class: 'refusal' }, h('h2', {}, t(label)),
          h('p', {}, `${t('refused')}: ${error.message}`)));
      }
    }
  };
}

const unit = ({ di, lot, serial }) => ({ unit: compact({ di, lot: lot ?? '', serial }) });

export const device = asking('device',
  [{ name: 'di' }, { name: 'lot', required: false }, { name: 'serial' }],
  [{ label: 'journey', contract: 'devices', name: 'TraceUnit', args: unit }]);

export const patient = asking('patient', [{ name: 'sid' }], [
  { label: 'consents', contract: 'records', name: 'ListConsents', args: ({ sid }) => ({ sid }) },
  { label: 'whoRead', contract: 'records', name: 'Accounting', args: ({ sid }) => ({ sid }) },
]);

export const recalls = asking('recalls', [{ name: 'recall' }], [
  { label: 'recall', contract: 'devices', name: 'ReadRecall', args: ({ recall }) => ({ no: recall }) },
  { label: 'affected', contract: 'devices', name: 'Affected', args: ({ recall }) => ({ no: recall }) },
]);
