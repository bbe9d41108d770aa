// The real thing: `consumable dev` on a folder of its own, and all that a test asks of it beside the client.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { until } from './until.js';

export const ROOT = fileURLToPath(new URL('../../../../..', import.meta.url));

const PROGRAM = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'debug/consumable');

/** The first start fetches and prepares a MySQL server, if there is none yet. */
const START_MS = 240_000;

let made = 0;

export class Gateway {
  data = mkdtempSync(join(tmpdir(), 'consumable-client-'));
  #process = null;
  #said = '';

  async start() {
    if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is not there: cargo build makes it`);
    this.#said = '';
    this.#process = spawn(PROGRAM, ['dev', '--listen', '127.0.0.1:0', '--data', this.data], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const child = this.#process;
    process.once('exit', () => child.kill('SIGTERM'));
    const ready = new Promise((resolve, reject) => {
      const hear = (chunk) => {
        this.#said += chunk;
        // The last line that it prints.
        if (this.#said.includes('dev.json, too.')) resolve(undefined);
      };
      this.#process.stdout.on('data', hear);
      this.#process.stderr.on('data', hear);
      this.#process.once('exit', () => reject(new Error(`consumable dev ended:\n${this.#said}`)));
      setTimeout(() => reject(new Error(`consumable dev is not ready:\n${this.#said}`)), START_MS).unref();
    });
    await ready;
    Object.assign(this, JSON.parse(readFileSync(join(this.data, 'dev.json'), 'utf8')));
    return this;
  }

  /** Ends it; the data stays. */
  async stop() {
    if (this.#process === null || this.#process.exitCode !== null) return;
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    await ended;
  }

  /** Ends it, and nothing is left. */
  async remove() {
    await this.stop();
    rmSync(this.data, { recursive: true, force: true });
  }

  async ask(method, path, body, { key = this.serviceKey } = {}) {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        Authorization: `Bearer ${key}`,
        'Content-Type': 'application/json',
        'Idempotency-Key': `test-${process.pid}-${(made += 1)}`,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
    return answer;
  }

  /** A workspace of the test's own, with 1,000 credits. */
  async workspace() {
    const slug = `client-${process.pid}-${(made += 1)}`;
    const path = `/api/billing/entities/workspace/${slug}`;
    const { billableEntity } = await this.ask('PUT', path, { workspaceSlug: slug, workspaceName: slug });
    const grant = { billableEntityId: billableEntity.id, code: 'ai.credits', amount: 1_000, kind: 'promo', reason: 'Test' };
    await this.ask('POST', '/api/console/billing/grants', grant, { key: this.adminKey });
    return { slug, id: billableEntity.id };
  }

  /** A use by somebody else than the client. */
  consume(slug, amount) {
    const use = { limitationCode: 'ai.credits', amount };
    return this.ask('POST', `/api/billing/consume?workspaceSlug=${slug}`, use);
  }

  /** Runs statements with the MySQL client that dev says. Gives what it prints. */
  async sql(statements) {
    const said = /^(\S+) -S '/m.exec(this.#said);
    const client = spawn(said?.[1] ?? 'mysql', ['-N', '-S', this.mysqlSocket, '-u', this.mysqlUser, this.database], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let output = '';
    client.stdout.on('data', (chunk) => (output += chunk));
    client.stderr.on('data', (chunk) => (output += chunk));
    client.stdin.end(statements);
    const [code] = await once(client, 'close');
    if (code !== 0) throw new Error(`${statements}\n${output}`);
    return output.trim();
  }

  /** The number of the newest change that readers were or will be told of. */
  lastChange() {
    return until('numbered changes', async () => {
      const unnumbered = await this.sql('SELECT COUNT(*) FROM billing_limit_changes WHERE sequence_no IS NULL;');
      return unnumbered === '0' && Number(await this.sql('SELECT MAX(sequence_no) FROM billing_limit_changes;'));
    });
  }
}
