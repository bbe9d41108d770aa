// A browser, and pages that must neither complain nor ask another host for anything.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { ROOT } from '../../client/test/support/gateway.js';

const HOME = process.env.CONSUMABLE_BROWSER_HOME ?? join(ROOT, 'target/browser');

if (!existsSync(join(HOME, 'node_modules'))) throw new Error(`${HOME} has no browser's driver: .ci/browser makes it`);

const modules = createRequire(join(HOME, 'package.json'));
const { chromium } = modules('playwright-core');
const AXE = readFileSync(modules.resolve('axe-core/axe.min.js'), 'utf8');

/** Where pictures go: into the documentation when its pages are renewed, else where nobody minds. */
const PICTURES = process.env.CONSUMABLE_RENEW === '1' ? join(ROOT, 'docs/console') : join(HOME, 'pictures');

/** How long a page may take for anything. */
const PATIENCE_MS = 15_000;

export class Browser {
  #browser;

  async start() {
    mkdirSync(PICTURES, { recursive: true });
    this.#browser = await chromium.launch({
      executablePath: process.env.CONSUMABLE_BROWSER ?? '/usr/bin/chromium',
      // Root, which CI is, has no sandbox; nothing but our own page is opened.
      args: ['--no-sandbox', '--disable-dev-shm-usage'],
    });
    return this;
  }

  async stop() {
    await this.#browser?.close();
  }

  /**
   * A page of a new visitor, which is closed at the test's end; it must not have complained by then.
   *
   * @param {import('node:test').TestContext} t
   * @param {{url: string, scheme?: 'light' | 'dark', width?: number, refusals?: boolean}} options
   *   `refusals`: the test makes requests that are refused, or cuts the line, which a browser notes by itself
   */
  async visit(t, { url, scheme = 'light', width = 1_280, refusals = false }) {
    const context = await this.#browser.newContext({ baseURL: url, colorScheme: scheme, viewport: { width, height: 800 }, reducedMotion: 'reduce', timezoneId: 'UTC', locale: 'en-GB' });
    context.setDefaultTimeout(PATIENCE_MS);
    const complaints = [];
    const watch = (page) => {
      page.on('console', (message) => {
        const isNoted = refusals && /^Failed to load resource/.test(message.text());
        if (['error', 'warning'].includes(message.type()) && !isNoted) complaints.push(message.text());
      });
      page.on('pageerror', (error) => complaints.push(String(error.stack)));
    };
    context.on('page', watch);
    context.on('request', (request) => {
      if (new URL(request.url()).origin !== new URL(url).origin) complaints.push(`asked ${request.url()}`);
    });
    t.after(async () => {
      await context.close();
      assert.deepEqual(complaints, []);
    });
    return context.newPage();
  }
}

/** Signs in at the page of the context's gateway. */
export async function signIn(page, secret) {
  await page.goto('/');
  await page.getByLabel('Key or token').fill(secret);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
}

/** Goes to a page of the console and waits until nothing of it is being loaded. */
export async function goTo(page, address) {
  await page.evaluate((hash) => {
    location.hash = hash;
  }, address);
  await settled(page);
}

/** Waits until a heading is there and nothing is being loaded. */
export async function settled(page) {
  await page.locator('main h1').waitFor();
  await page.waitForFunction(() => document.querySelector('.waiting') === null);
}

/** A picture of the whole page, from its top. */
export async function picture(page, name) {
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: join(PICTURES, `${name}.png`), animations: 'disabled', fullPage: true });
}

/** What is wrong with a page for who uses it by keyboard or hears it: serious and critical findings. */
export async function findings(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations
    .filter(({ impact }) => ['serious', 'critical'].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(' | ')}`);
}

/** By how many pixels a page is wider than its window. */
export function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}
