// The tests of all.js in node: exits with 1 where one fails.
import run from './all.js';

const { passed, failed } = await run();
for (const one of failed) console.error(one);
console.log(`${passed} passed, ${failed.length} failed`);
process.exit(failed.length ? 1 : 0);
