// The console as people use it, in Chromium.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { generateKeyPairSync } from 'node:crypto';
import os from 'node:os';
import path from 'node:path';
import { disconnect } from '../lib/members.mjs';
import { dir } from '../lib/network.mjs';
import { fresh } from '../lib/numbers.mjs';
import { DESKTOP, PHONE, Window, launch } from './lib/browser.mjs';
import { people, tell } from './lib/story.mjs';

const consilium = process.env.CONSILIUM;
// Where pictures of the pages go; none are made without.
const pictures = process.env.SCREENSHOTS;
const MAX_PICTURE = 150_000;

let browser;
let told;
// Who looks at a page, what the address has besides, and what has to be there.
const pages = () => [
    ['consortium', people.auditor, '', ['HospitalMSP', 'RegulatorMSP', 'localhost:']],
    ['live', people.auditor, '', []],
    ['blocks', people.auditor, '', ['Block', 'Hash']],
    ['contracts', people.auditor, '', ['devices', 'records', 'costs', 'waste', 'card', 'research']],
    ['device', people.supply, query(told.device), [told.device.di, 'Manufactured', 'InStock', 'HospitalMSP', 'Receive']],
    ['recalls', people.supply, query(told.recalls), [told.recalls.recall, 'Open']],
    ['patient', people.patient, query(told.patient), ['Consents', 'TREAT']],
    ['card', people.issuer, query(told.card), [told.card.handle, 'Active', 'Suspended', 'LOST', 'Activate']],
    ['claim', people.billing, query(told.claim), ['125.00 USD', '100.00 USD', 'Adjudicated', 'Paid', 'InsurerMSP']],
    ['waste', people.environment, query(told.waste), [told.waste.manifest, 'Discrepant', 'WEIGHT', 'STORAGE', told.waste.bag, 'AcceptCarriage']],
    ['research', people.investigator, query(told.research), [told.research.application, 'MONDO:0005148', 'Active']],
];
const query = (object) => `?${new URLSearchParams(object)}`;
const windows = new Map();
// Each person signs in once.
async function windowOf(person, viewport = DESKTOP) {
    if (!windows.has(person)) windows.set(person, await Window.of(browser, person));
    const window = windows.get(person);
    await window.page.setViewport(viewport);
    return window;
}

before(async () => {
    assert.ok(consilium, 'set CONSILIUM to the program');
    told = await tell().finally(disconnect);
    browser = await launch();
    if (pictures) mkdirSync(pictures, { recursive: true });
});

after(async () => {
    await browser?.close();
});

test('a wrong key does not sign in, and the right one does', async () => {
    const { billing } = people;
    const window = await Window.open(browser, billing.console);
    const folder = path.join(os.tmpdir(), fresh('console'));
    mkdirSync(folder);
    const write = (name, text) => {
        writeFileSync(path.join(folder, name), text);
        return path.join(folder, name);
    };
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const alert = () => window.page.waitForSelector('[role=alert]:not([hidden])').then(() => window.text('[role=alert]'));
    await window.signsIn(billing.name, write('none.pem', 'no key'));
    assert.match(await alert(), /no private key/);
    await window.signsIn(billing.name, write('other.pem', privateKey.export({ type: 'pkcs8', format: 'pem' })));
    await window.page.waitForFunction(() => /not signed by the key/.test(document.querySelector('[role=alert]').textContent));
    // The browser itself tells of the refused request.
    assert.deepEqual(window.complaints.splice(0), ['Failed to load resource: the server responded with a status of 401 ()']);
    assert.ok(await window.page.$eval('#nav', (nav) => nav.hidden));
    await window.signsIn(billing.name, billing.keyFile);
    await window.waitsFor('InsurerMSP');
    assert.match(await window.text('#who'), new RegExp(`${billing.name} · HospitalMSP · billing`));
    // Nothing of the key or the token outlives the page.
    const kept = await window.page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
    assert.equal(kept, JSON.stringify([{ language: 'en' }, {}, '']));
    await window.page.click('#leave');
    await window.page.waitForSelector('input[type=file]');
    assert.ok(await window.page.$eval('#nav', (nav) => nav.hidden));
    window.isClean();
    await window.close();
});

test('every page shows what the ledger has, in both languages, to everybody', async (context) => {
    for (const [name, person, rest, wanted] of pages()) {
        await context.test(name, async () => {
            const window = await windowOf(person);
            await window.goes(`#/${name}${rest}`);
            for (const text of wanted) await window.waitsFor(text);
            await window.settles();
            assert.equal(await window.page.$('.refusal'), null, await window.text());
            assert.deepEqual(await window.barriers(), []);
            if (name !== 'live') await picture(window, name);
            await switches(window, 'zh-CN');
            assert.deepEqual(await window.barriers(), []);
            const nav = await window.text('#nav');
            assert.match(nav, /联盟/);
            assert.doesNotMatch(nav, /[A-Za-z]/);
            await switches(window, 'en');
            window.isClean();
        });
    }
});

async function switches(window, language) {
    await window.page.click('#language');
    await window.page.waitForFunction((wanted) => document.documentElement.lang === wanted, {}, language);
    await window.settles();
}

async function picture(window, name, kind = 'desktop') {
    if (!pictures) return;
    const file = path.join(pictures, `console-${name}-${kind}.png`);
    await window.page.screenshot({ path: file });
    assert.ok(statSync(file).size < MAX_PICTURE, `${file} has ${statSync(file).size} bytes`);
}

test('from a block to its transaction, and what it wrote', async () => {
    const window = await windowOf(people.supply);
    await window.goes(`#/device${query(told.device)}`);
    const steps = await window.page.$$eval('.timeline li', (items) => items.map((item) => item.querySelector('strong').textContent));
    assert.deepEqual(steps, ['Manufactured', 'InTransit', 'InStock']);
    const times = await window.page.$$eval('.timeline time', (all) => all.map((one) => one.dateTime));
    assert.deepEqual(times, [...times].sort());
    // The contract gives a card's newest change first.
    await window.goes(`#/card${query(told.card)}`);
    await window.waitsFor('Suspended');
    const states = await window.page.$$eval('.timeline strong', (all) => all.map((one) => one.textContent));
    assert.deepEqual(states, ['Applied', 'Active', 'Suspended']);
    await window.goes(`#/device${query(told.device)}`);
    await window.page.click('.timeline li:last-child a');
    await window.waitsFor('Endorsed by');
    await window.settles();
    const text = await window.text();
    for (const part of ['VALID', 'devices', 'Receive', 'HospitalMSP', 'InStock']) assert.ok(text.includes(part), part);
    assert.deepEqual(await window.barriers(), []);
    await picture(window, 'transaction');
    await window.page.click('dl a');
    await window.waitsFor('Previous hash');
    assert.match(await window.text(), /Receive/);
    assert.deepEqual(await window.barriers(), []);
    window.isClean();
});

test('a new block appears by itself', async () => {
    const window = await windowOf(people.auditor);
    await window.goes('#/live');
    assert.equal(await window.page.$('.feed li'), null);
    await window.page.evaluate(() => { globalThis.still = true; });
    for (const value of ['one', 'two']) {
        execFileSync(consilium, ['invoke', '--network', dir, 'kv', 'put', fresh('console'), value], { stdio: 'pipe' });
        const count = value === 'one' ? 1 : 2;
        await window.page.waitForFunction((wanted) => document.querySelectorAll('.feed li').length >= wanted, { timeout: 20_000 }, count);
    }
    assert.ok(await window.page.evaluate(() => globalThis.still), 'the page was loaded again');
    assert.match(await window.text('.feed li'), /transactions: 1/i);
    assert.match(await window.text('#status'), /New block \d+/);
    assert.deepEqual(await window.barriers(), []);
    await picture(window, 'live');
    window.isClean();
    await window.goes('#/consortium');
});

test('what a role may not see, the contract refuses', async () => {
    const window = await windowOf(people.nurse);
    const menu = await window.page.$$eval('#nav a', (links) => links.map((link) => link.getAttribute('href').slice(2)));
    assert.deepEqual(menu, ['consortium', 'live', 'blocks', 'contracts', 'device', 'recalls', 'patient', 'card']);
    await window.goes(`#/claim${query(told.claim)}`);
    await window.page.waitForSelector('section.refusal');
    assert.match(await window.text('section.refusal'), /Refused: .*WRONG_ROLE/);
    assert.doesNotMatch(await window.text(), /USD/);
    assert.deepEqual(window.complaints.splice(0), ['Failed to load resource: the server responded with a status of 403 ()']);
    assert.deepEqual(await window.barriers(), []);
    await picture(window, 'refused');
    window.isClean();
});

test('the keyboard is enough', async () => {
    const window = await windowOf(people.billing);
    const { page } = window;
    await window.goes('#/consortium');
    const focused = () => page.evaluate(() => document.activeElement.getAttribute('href') ?? document.activeElement.id);
    await page.evaluate(() => { document.activeElement.blur(); window.getSelection().removeAllRanges(); });
    await page.focus('#skip');
    const skip = await page.$eval('#skip', (link) => link.getBoundingClientRect().left);
    assert.ok(skip >= 0, 'the skip link is not in sight');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.activeElement.id === 'main');
    assert.equal(await page.evaluate(() => location.hash), '#/consortium', 'the skip link leads to another page');
    await page.focus('#skip');
    for (let presses = 0; await focused() !== '#/blocks'; presses += 1) {
        assert.ok(presses < 10, 'Tab does not lead to the page');
        await page.keyboard.press('Tab');
    }
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(outline, 'solid');
    await page.keyboard.press('Enter');
    await window.waitsFor('Older');
    await page.waitForFunction(() => document.activeElement.id === 'main');
    assert.equal(await page.title(), 'Blocks · Consilium');
    // A form, too.
    await window.goes('#/claim');
    await page.focus('input[name=episode]');
    await page.keyboard.type(told.claim.episode);
    await page.keyboard.press('Enter');
    await window.waitsFor('125.00 USD');
    await window.settles();
    window.isClean();
});

test('an address that was written wrong is told about on the page', async () => {
    const window = await windowOf(people.supply);
    for (const wrong of ['%zz', '%2E%2E%2Fsession']) {
        await window.goes(`#/blocks/${wrong}`);
        await window.waitsFor('Refused');
    }
    // The browser's own words about what was refused, and nothing of a script's.
    assert.deepEqual(window.complaints.splice(0).filter((text) => !text.startsWith('Failed to load resource')), []);
});

test('what the ledger has is text, never markup', async () => {
    const window = await windowOf(people.billing);
    const markup = '<img src=x onerror="document.title=1">';
    const output = execFileSync(consilium, ['invoke', '--network', dir, 'kv', 'put', fresh('markup'), markup], { encoding: 'utf8' });
    assert.ok(output !== undefined);
    await window.goes('#/blocks');
    await window.page.waitForSelector('tbody a');
    await window.page.click('tbody a');
    await window.waitsFor('Previous hash');
    await window.page.click('tbody a');
    await window.waitsFor(markup);
    assert.equal(await window.page.$('main img'), null);
    window.isClean();
});

test('on a phone no page is wider than the window', async (context) => {
    for (const [name, person, rest, wanted] of pages()) {
        await context.test(name, async () => {
            const window = await windowOf(person, PHONE);
            await window.goes(`#/${name}${rest}`);
            for (const text of wanted) await window.waitsFor(text);
            await window.settles();
            assert.ok(await window.excess() <= 0, `${await window.excess()} px too wide`);
            assert.deepEqual(await window.barriers(), []);
            await picture(window, name, 'phone');
            window.isClean();
        });
    }
});
