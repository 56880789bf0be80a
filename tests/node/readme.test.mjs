// The first application of README.md does what README.md says.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));

test('the first application prints blue and has under 30 lines', () => {
    const readme = readFileSync(path.join(here, '..', '..', 'README.md'), 'utf8');
    const [, snippet] = readme.match(/```js\n([\s\S]*?)```/);
    assert.ok(snippet.trim().split('\n').length < 30);
    const file = path.join(here, 'readme-snippet.mjs');
    writeFileSync(file, snippet);
    try {
        assert.equal(execFileSync('node', [file], { encoding: 'utf8' }).trim(), 'blue');
    } finally {
        rmSync(file);
    }
});
