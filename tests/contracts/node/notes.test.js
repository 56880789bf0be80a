'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Notes } = require('./notes.js');

// A stub whose state is a map.
const stub = (state, fcn, params) => ({
    getFunctionAndParameters: () => ({ fcn, params }),
    getState: async (key) => state.get(key) ?? Buffer.alloc(0),
    putState: async (key, value) => { state.set(key, value); },
});

test('notes', async () => {
    const state = new Map();
    for (const [call, status, answer] of [
        [['put', 'n1', 'milk'], 200, ''],
        [['get', 'n1'], 200, 'milk'],
        [['get', 'n2'], 200, ''],
        [['put', 'n1'], 500, ''],
    ]) {
        const [fcn, ...params] = call;
        const response = await new Notes().Invoke(stub(state, fcn, params));
        assert.equal(response.status, status, call.join(' '));
        assert.equal(Buffer.from(response.payload ?? '').toString(), answer, call.join(' '));
    }
});
