// What the console computes, and whether its files fit each other: each test by name. The default export runs them all.
import api from './api.js';
import exports from './exports.js';
import format from './format.js';
import money from './money.js';
import pages from './pages.js';
import save from './save.js';
import series from './series.js';
import sources from './sources.mjs';
import state from './state.js';
import time from './time.js';
import trust from './trust.js';

function equal(found, wanted, what = '') {
  const [a, b] = [found, wanted].map(value => JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? `${one}n` : one)));
  if (a !== b) throw new Error(`${what} ${a} is not ${b}`);
}

/** @returns {{passed: number, failed: string[]}} */
export default async function run() {
  let passed = 0;
  const failed = [];
  const suites = [api, exports, format, money, pages, save, series, sources, state, time, trust];
  for (const [name, test] of suites.flatMap(suite => Object.entries(suite(equal)))) {
    try {
      await test();
      passed += 1;
    } catch (error) {
      failed.push(`${name}: ${error.message}`);
    }
  }
  return { passed, failed };
}
