// Pictures of every page at two widths, light and dark, for docs/console.md.
// node console/tests/screenshots.mjs BASE KIND FOLDER [page…]: BASE is where the console is, KIND one of PAGES; signed in by the link in
// LINK if that is set.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { browser } from './browser.mjs';

/** Of each picture the address, and a script that is run there first. */
const PAGES = {
  api: {
    overview: [''],
    usage: ['usage?by=clientId&compare=1'],
    reliability: ['reliability?range=7d'],
    trust: ['trust?range=7d'],
    exports: ['exports'],
    'dead-letters': ['dead-letters'],
    'dead-letter': ['dead-letters?state=open', "document.querySelector('main tbody a')?.click()"],
    'api-keys': ['api-keys'],
  },
  admin: { audit: ['audit'], unreadable: ['unreadable'] },
  operations: {
    actors: [''],
    restart: ['', "document.querySelector('[aria-label=\"Restart writer/0\"]')?.click()", "document.querySelector('dialog .primary')?.click()"],
    partitions: ['partitions'],
    supervision: ['supervision'],
    'data-life': ['data-life'],
  },
};
const SIZES = [
  { width: 1280, dark: false },
  { width: 1280, dark: true },
  { width: 360, dark: false },
  { width: 360, dark: true },
];
/** What is below is more of the same. */
const TALLEST = 1500;

const [base, kind, folder, ...only] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const page = await browser({ port: Number(process.env.DRIVER_PORT ?? 9515) });
const pause = ms => new Promise(done => setTimeout(done, ms));
const settled = () =>
  page.until("!document.querySelector('.skeleton, [aria-busy=\"true\"]') && !!document.querySelector('main')", 'the page is loaded');
try {
  if (process.env.LINK) {
    await page.go(process.env.LINK);
    await page.until("!location.pathname.endsWith('sign-in')", 'signed in');
  }
  for (const [name, [path, ...acts]] of Object.entries(PAGES[kind])) {
    if (only.length && !only.includes(name)) continue;
    await page.look({ width: 1280, height: 860 });
    await page.go(`${base}/console/${path}`);
    for (const act of acts) {
      await settled();
      await page.run(act);
      await pause(1000);
    }
    for (const { width, dark } of SIZES) {
      await page.look({ width, dark, height: width < 500 ? 760 : 860 });
      await settled();
      await pause(200);
      writeFileSync(join(folder, `${name}-${width}-${dark ? 'dark' : 'light'}.png`), await page.picture((await page.run("return !!document.querySelector('dialog')")) ? 0 : TALLEST));
    }
    const wide = await page.run('return document.documentElement.scrollWidth > innerWidth');
    const log = (await page.log()).filter(({ level }) => level === 'SEVERE' || level === 'WARNING');
    console.log(name, wide ? 'WIDER THAN THE WINDOW at 360' : '', log.map(({ message }) => message).join('\n'));
  }
} finally {
  await page.end();
}
