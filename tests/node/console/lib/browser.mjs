// Chromium, and a page that is watched: what it asks for, what it complains about.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import axe from 'axe-core';
import puppeteer from 'puppeteer-core';

// Files of this folder instead of those in the program, while somebody works on them.
const files = process.env.CONSOLE_FILES;
const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.html': 'text/html', '.svg': 'image/svg+xml' };

export const DESKTOP = { width: 1200, height: 800 };
// Not as a device of its own, for which the page would be loaded again and everybody signed out.
export const PHONE = { width: 390, height: 844 };

export async function launch() {
    const executablePath = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);
    assert.ok(executablePath, 'there is no Chromium; name one in CHROMIUM');
    return puppeteer.launch({
        executablePath,
        // The gateway's certificate is of the organization's own authority.
        acceptInsecureCerts: true,
        // The sandbox wants another user than root.
        args: [...(process.getuid() === 0 ? ['--no-sandbox'] : []), '--disable-dev-shm-usage', '--force-color-profile=srgb'],
    });
}

// The folder's files, with the headers that the gateway has for its own.
async function serveFiles(page, origin) {
    const { headers } = await page.goto(`${origin}/console/`).then((response) => ({ headers: response.headers() }));
    await page.setRequestInterception(true);
    page.on('request', (request) => {
        const url = new URL(request.url());
        if (!url.pathname.startsWith('/console/')) return request.continue();
        const file = path.join(files, url.pathname.slice('/console/'.length) || 'index.html');
        if (!existsSync(file)) return request.respond({ status: 404 });
        const { 'content-security-policy': policy } = headers;
        return request.respond({
            headers: { 'content-security-policy': policy, 'content-type': TYPES[path.extname(file)] ?? 'text/plain' }, body: readFileSync(file),
        });
    });
}

// One person's window. `complaints` are errors of scripts and of the policy, and refused requests;
// `origins` where it asked.
export class Window {
    complaints = [];
    origins = new Set();

    static async open(browser, address) {
        const window = new Window();
        window.context = await browser.createBrowserContext();
        window.page = await window.context.newPage();
        const { page } = window;
        const origin = new URL(address).origin;
        await page.setViewport(DESKTOP);
        await page.evaluateOnNewDocument(() => {
            if (!localStorage.getItem('language')) localStorage.setItem('language', 'en');
            addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
        });
        if (files) await serveFiles(page, origin);
        page.on('console', (message) => {
            if (['error', 'warn'].includes(message.type())) window.complaints.push(message.text());
        });
        page.on('pageerror', (error) => window.complaints.push(String(error)));
        page.on('request', (request) => window.origins.add(new URL(request.url()).origin));
        window.origin = origin;
        await page.goto(address, { waitUntil: 'networkidle0' });
        return window;
    }

    close() {
        return this.context.close();
    }

    // Name and key into the form.
    async signsIn(name, keyFile) {
        await this.page.waitForSelector('input[name=name]');
        await this.page.$eval('input[name=name]', (input) => { input.value = ''; });
        await this.page.type('input[name=name]', name);
        const input = await this.page.$('input[type=file]');
        await input.uploadFile(keyFile);
        await this.page.click('form button');
    }

    static async of(browser, person) {
        await person.enrols();
        const window = await Window.open(browser, person.console);
        await window.signsIn(person.name, person.keyFile);
        await window.page.waitForSelector('#nav:not([hidden])');
        await window.settles();
        return window;
    }

    // To a page by its address, as a link would.
    async goes(hash) {
        await this.page.evaluate((wanted) => { location.hash = wanted; }, hash);
        await this.settles();
    }

    // Until what was asked for is there: nothing is under way, and the page does not say that it loads.
    async settles() {
        await this.page.waitForNetworkIdle({ idleTime: 200, concurrency: 1, timeout: 20_000 });
        await this.page.waitForFunction(() => !/Loading|加载/.test(document.getElementById('status').textContent), { timeout: 20_000 });
    }

    text(selector = 'main') {
        return this.page.$eval(selector, (element) => element.innerText);
    }

    async waitsFor(text) {
        await this.page.waitForFunction((wanted) => document.getElementById('main').innerText.includes(wanted), { timeout: 20_000 }, text);
    }

    // axe's findings that keep somebody out.
    async barriers() {
        // Through the debugger, which the page's policy does not concern.
        await this.page.evaluate(axe.source);
        const { violations } = await this.page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
        return violations.filter(({ impact }) => ['serious', 'critical'].includes(impact))
            .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`);
    }

    // How much wider the page is than the window.
    excess() {
        return this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    }

    isClean() {
        assert.deepEqual(this.complaints, []);
        assert.deepEqual([...this.origins], [this.origin]);
    }
}
