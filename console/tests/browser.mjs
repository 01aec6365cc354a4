// A browser by the WebDriver protocol, with nothing but node, chromium and chromedriver: for pictures and for trying pages.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const pause = ms => new Promise(done => setTimeout(done, ms));

export async function browser({
  port = 9515,
  driver = process.env.CHROMEDRIVER ?? 'chromedriver',
  binary = process.env.CHROMIUM,
} = {}) {
  const profile = mkdtempSync(join(tmpdir(), 'console-'));
  const process_ = spawn(driver, [`--port=${port}`], { stdio: 'ignore' });
  const base = `http://127.0.0.1:${port}`;
  const send = async (method, path, body) => {
    const response = await fetch(base + path, { method, body: body && JSON.stringify(body) });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`${path}: ${value?.message ?? response.status}`);
    return value;
  };
  for (let tries = 0; tries < 50; tries += 1) {
    if (
      await fetch(`${base}/status`).then(
        response => response.ok,
        () => false,
      )
    )
      break;
    await pause(100);
  }
  const args = [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--hide-scrollbars',
    '--lang=en-GB',
    `--user-data-dir=${profile}`,
  ];
  const { sessionId } = await send('POST', '/session', {
    capabilities: {
      alwaysMatch: { 'goog:chromeOptions': { args, ...(binary && { binary }) }, 'goog:loggingPrefs': { browser: 'ALL' } },
    },
  });
  const of = `/session/${sessionId}`;
  const cdp = (cmd, params = {}) => send('POST', `${of}/goog/cdp/execute`, { cmd, params });
  const run = (script, ...args) => send('POST', `${of}/execute/sync`, { script, args });
  return {
    cdp,
    run,
    go: url => send('POST', `${of}/url`, { url }),
    /** What the console of the page has logged since the last call. */
    log: () => send('POST', `${of}/se/log`, { type: 'browser' }),
    async until(script, what = script, ms = 10_000) {
      for (const end = Date.now() + ms; Date.now() < end; await pause(50)) if (await run(`return ${script}`)) return;
      throw new Error(`not within ${ms} ms: ${what}`);
    },
    async look({ width, height = 900, dark = false }) {
      await cdp('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false });
      await cdp('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }] });
    },
    /** The page from its top, as a PNG: what is in the window, and what is below it as far as `tallest`. */
    async picture(tallest = 0) {
      const [width, window, page] = await run('return [innerWidth, innerHeight, document.documentElement.scrollHeight]');
      const clip = { x: 0, y: 0, width, height: Math.max(window, Math.min(page, tallest)), scale: 1 };
      const { data } = await cdp('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true, clip });
      return Buffer.from(data, 'base64');
    },
    async end() {
      await send('DELETE', of).catch(() => {});
      process_.kill();
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
