// Patients of Synthea's, as the surface's own tests have them, and people like them.

import { appendFileSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { digits } from '../../lib/numbers.mjs';
import { pseudonym } from './people.mjs';

const data = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..', '..', 'crates', 'fhir', 'tests', 'data');
export const file = (name) => readFileSync(path.join(data, name));
export const bundle = (name) => JSON.parse(gunzipSync(file(`${name}.json.gz`)));
export const lines = (name) => file(name).toString('utf8').trim().split('\n').map((line) => JSON.parse(line));

// Johnnie's history under the number of somebody else, whom no earlier test knows. The number is told to
// the scan of all blocks.
export function somebody(name = 'johnnie') {
    const number = `999-${digits(2)}-${digits(4)}${digits(4)}`;
    const [own] = bundle(name).entry[0].resource.identifier.filter(({ type }) => type?.coding?.[0]?.code === 'SS');
    const text = JSON.stringify(bundle(name)).replaceAll(own.value, number);
    if (process.env.ANSWERS) appendFileSync(path.join(process.env.ANSWERS, 'numbers'), `${number}\n`);
    return { number, sid: pseudonym('SS', number), bundle: JSON.parse(text) };
}

// Somebody with a few resources: so many observations, and an imaging study.
export function few(observations = 3) {
    const { bundle: whole, ...who } = somebody();
    const of = (type, count) => whole.entry.filter(({ resource }) => resource.resourceType === type).slice(0, count);
    const laboratory = whole.entry.filter(({ resource }) => resource.category?.[0]?.coding?.[0]?.code === 'laboratory');
    const entry = [...of('Patient', 1), ...laboratory.slice(0, observations), ...of('ImagingStudy', 1)];
    // References to what is left out lead nowhere.
    for (const { resource } of entry) delete resource.encounter;
    return { ...who, bundle: { ...whole, entry } };
}

// Ids by type of what a bundle created.
export function created(answer) {
    const ids = {};
    for (const { response } of answer.entry) {
        const [type, id] = response.location.split('/');
        (ids[type] ??= []).push(id);
    }
    return ids;
}

export const observation = (patient, value = 172) => ({
    resourceType: 'Observation',
    status: 'final',
    code: { coding: [{ system: 'http://loinc.org', code: '8302-2', display: 'Body Height' }] },
    subject: { reference: `Patient/${patient}` },
    effectiveDateTime: '2026-11-02T10:00:00+01:00',
    valueQuantity: { value, unit: 'cm', system: 'http://unitsofmeasure.org', code: 'cm' },
});
