// The module and its types say the same.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { ROOT } from './support/gateway.js';

const folder = fileURLToPath(new URL('.', import.meta.url));
// Outside the sources, which are of this repository alone.
const compiler = join(ROOT, 'target/client-types/node_modules/typescript/bin/tsc');
const skip = existsSync(compiler) ? false : 'without the compiler, which .ci/run fetches where there is npm';

test('TypeScript finds nothing', { skip }, () => {
  const { status, stdout } = spawnSync(process.execPath, [compiler, '-p', folder], { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});
