// Elements without markup in texts: whatever comes from the ledger is shown as it is, never parsed.

/** An element with attributes (functions become listeners) and children. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null));
  return element;
}

/** A table with a caption for those who do not see it, a header row and rows of cells. */
export function table(caption, head, rows) {
  return h('div', { class: 'wide', tabindex: '0', role: 'region', 'aria-label': caption },
    h('table', {},
      h('caption', {}, caption),
      h('thead', {}, h('tr', {}, head.map((cell) => h('th', { scope: 'col' }, cell)))),
      h('tbody', {}, rows.map((row) => h('tr', {}, row.map((cell, index) =>
        index === 0 ? h('th', { scope: 'row' }, cell ?? '') : h('td', {}, cell ?? '')))))));
}

/** Names and values. */
export function facts(pairs) {
  return h('dl', {}, pairs
    .filter(([, value]) => value !== undefined && value !== null && value !== '')
    .map(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]));
}

/** A form of labelled text fields; `go` gets their values by name. */
export function form(title, fields, label, go) {
  const inputs = fields.map(({ name, text, value, required = true, type = 'text' }) => h('label', {}, text,
    h('input', { name, value, type, required, autocomplete: 'off', spellcheck: 'false' })));
  return h('form', {
    'aria-label': title,
    submit: (event) => {
      event.preventDefault();
      go(Object.fromEntries(new FormData(event.target)), event.target);
    },
  }, inputs, h('button', { type: 'submit' }, label));
}
