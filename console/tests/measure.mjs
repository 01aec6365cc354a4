// What the console takes of a browser: requests, bytes and first paint of its first page, and how long a large chart is drawn.
// LINK=… node console/tests/measure.mjs BASE: for docs/performance.md.
import { browser } from './browser.mjs';

/** Thirteen months by day, and as many series as the API gives. */
const [BUCKETS, SERIES, RUNS] = [396, 25, 20];

const [base] = process.argv.slice(2);
const page = await browser();
const median = values => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const settled = () =>
  page.until("!document.querySelector('.skeleton, [aria-busy=\"true\"]') && !!document.querySelector('main')", 'the page is loaded');
try {
  await page.go(process.env.LINK);
  await page.until("!location.pathname.endsWith('sign-in')", 'signed in');
  await page.cdp('Network.setCacheDisabled', { cacheDisabled: true });
  const paints = [];
  let needed;
  for (let n = 0; n < RUNS; n += 1) {
    await page.go(`${base}/console/`);
    await settled();
    needed = await page.run(`const all = performance.getEntriesByType('resource'), scripts = all.filter(({ name }) => name.endsWith('.js'));
      return { requests: all.length + 1, scripts: scripts.length, bytes: scripts.reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0),
        paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime }`);
    if (needed.paint) paints.push(needed.paint);
  }
  console.log(`first page: ${needed.requests} requests, of which ${needed.scripts} scripts of ${needed.bytes} bytes; first paint after ${Math.round(median(paints))} ms`);
  const times = await page.run(`const assets = document.querySelector('script[type=module]').src.replace(/js\\/app\\.js$/, '');
    return import(assets + 'js/parts/draw.js').then(({ draw, theme }) => {
      const canvas = Object.assign(document.createElement('canvas'), { width: 1000, height: 260 });
      const context = canvas.getContext('2d');
      const series = Array.from({ length: ${SERIES} }, (_, s) => ({ name: 's' + s, values: Array.from({ length: ${BUCKETS} }, (_, at) => (at * 7 + s * 13) % 29) }));
      const spec = { kind: 'bars', buckets: ${BUCKETS}, series, open: Array.from({ length: ${BUCKETS} }, (_, at) => at > 390), yLabel: String,
        marks: Array.from({ length: 13 }, (_, n) => ({ at: n * 30, label: 'Jan 2026', begin: true })) };
      return Array.from({ length: ${RUNS} }, () => {
        const began = performance.now();
        draw(context, { width: 1000, height: 260 }, spec, theme(document.documentElement));
        // Waits until it is painted.
        context.getImageData(0, 0, 1, 1);
        return performance.now() - began;
      });
    })`);
  console.log(`${BUCKETS} buckets of ${SERIES} series: drawn in ${median(times).toFixed(1)} ms`);
} finally {
  await page.end();
}
