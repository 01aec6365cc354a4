// Pictures of every page at two widths, light and dark, for docs/console.md.
// node console/tests/screenshots.mjs BASE KIND FOLDER [page…]: BASE is where the console is, signed in by the link in LINK if that is set.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { browser } from './browser.mjs';

const PAGES = {
  api: {
    overview: '',
    usage: 'usage?by=clientId&compare=1&granularity=day',
    reliability: 'reliability?range=7d',
    trust: 'trust?range=7d',
    exports: 'exports',
    'dead-letters': 'dead-letters',
    'dead-letter': null,
    'api-keys': 'api-keys',
  },
  admin: { audit: 'audit', unreadable: 'unreadable' },
  operations: { actors: '', partitions: 'partitions', supervision: 'supervision', 'data-life': 'data-life' },
};
const SIZES = [
  [1280, false],
  [1280, true],
  [360, false],
  [360, true],
];

const [base, kind, folder, ...only] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const page = await browser({ port: Number(process.env.DRIVER_PORT ?? 9515) });
const settled = () =>
  page.until(
    "!document.querySelector('.skeleton, [aria-busy=\"true\"]') && !!document.querySelector('main')",
    'the page is loaded',
  );
try {
  if (process.env.LINK) {
    await page.go(process.env.LINK);
    await page.until("!location.pathname.endsWith('sign-in')", 'signed in');
  }
  for (const [name, path] of Object.entries(PAGES[kind])) {
    if (only.length && !only.includes(name)) continue;
    if (path === null) {
      await page.go(`${base}/console/dead-letters?state=all`);
      await settled();
      await page.run("document.querySelector('main tbody a')?.click()");
    } else {
      await page.go(`${base}/console/${path}`);
    }
    for (const [width, dark] of SIZES) {
      await page.look({ width, dark, height: width < 500 ? 760 : 860 });
      await settled();
      await new Promise(done => setTimeout(done, 150));
      const file = `${name}-${width}-${dark ? 'dark' : 'light'}.png`;
      writeFileSync(join(folder, file), await page.picture());
    }
    const wide = await page.run('return document.documentElement.scrollWidth > innerWidth');
    const log = (await page.log()).filter(({ level }) => level === 'SEVERE' || level === 'WARNING');
    console.log(name, wide ? 'WIDER THAN THE WINDOW at 360' : '', log.map(({ message }) => message).join('\n'));
  }
} finally {
  await page.end();
}
