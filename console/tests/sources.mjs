// What is written in one file and used in another: texts, exports and rules of style. Nothing is left over, and nothing is missing.
import { readdirSync, readFileSync } from 'node:fs';
import { t } from '../js/texts.js';

const folder = new URL('../', import.meta.url);
const read = name => readFileSync(new URL(name, folder), 'utf8');
const names = readdirSync(new URL('js/', folder), { recursive: true }).filter(name => name.endsWith('.js'));
const scripts = new Map(names.map(name => [name, read(`js/${name}`)]));
const everything = [...scripts.values(), read('index.html')].join('\n');

/** Paths of texts: those that are texts, and those that have others in them. */
function pathsOf(texts, path = []) {
  return Object.entries(texts).flatMap(([key, value]) => {
    const here = [...path, key];
    return typeof value === 'object' && !Array.isArray(value) ? pathsOf(value, here) : [here.join('.')];
  });
}

/** What the scripts name: a text, or all in a table of them where the key is computed or the table is handed on. */
function usedTexts() {
  return new Set([...everything.matchAll(/\bt((?:\.[A-Za-z_]\w*)+)/g)].map(([, path]) => path.slice(1)));
}

/** A text, or a part of its path: `letter.reasons.map` is a use of `letter.reasons`. */
const within = (path, other) => path === other || path.startsWith(`${other}.`);

export default equal => ({
  every_text_is_used() {
    const used = [...usedTexts()];
    const unused = pathsOf(t).filter(path => !used.some(use => within(path, use) || within(use, path)));
    equal(unused, []);
  },
  every_text_that_is_used_is_there() {
    const paths = pathsOf(t);
    const missing = [...usedTexts()].filter(use => !paths.some(path => within(path, use) || within(use, path)));
    equal(missing, []);
  },
  every_export_is_imported() {
    const tests = readdirSync(new URL('tests/', folder)).filter(name => name.endsWith('.js')).map(name => read(`tests/${name}`));
    const left = [...scripts].flatMap(([name, text]) => {
      const exported = [...text.matchAll(/^export (?:async )?(?:const|function|class) (\w+)/gm)].map(([, found]) => found);
      const elsewhere = [...[...scripts].filter(([other]) => other !== name).map(([, other]) => other), ...tests];
      return exported.filter(one => !elsewhere.some(other => new RegExp(`\\b${one}\\b`).test(other))).map(one => `${name}: ${one}`);
    });
    equal(left, []);
  },
  every_import_is_used() {
    const left = [...scripts].flatMap(([name, text]) => {
      const imported = [...text.matchAll(/^import \{([^}]*)\}/gm)].flatMap(([, list]) => list.split(','));
      const own = imported.map(one => one.trim().split(' as ').at(-1)).filter(Boolean);
      return own.filter(one => text.match(new RegExp(`\\b${one}\\b`, 'g')).length < 2).map(one => `${name}: ${one}`);
    });
    equal(left, []);
  },
  every_class_of_the_style_is_drawn() {
    const style = read('css/console.css').replace(/\/\*.*?\*\//gs, '');
    const selectors = [...style.matchAll(/([^{}]+)\{/g)].map(([, selector]) => selector).join('\n');
    const classes = new Set([...selectors.matchAll(/\.([a-z][\w-]*)/g)].map(([, found]) => found));
    // The number of a tone is computed.
    const drawn = name => new RegExp(`(?<![\\w-])${name.replace(/^tone-\d$/, 'tone-\\$')}(?![\\w-])`).test(everything);
    equal([...classes].filter(name => !drawn(name)), []);
  },
  every_class_that_is_drawn_has_a_style() {
    const style = read('css/console.css');
    const drawn = new Set([...everything.matchAll(/class="([^"$]*)"/g)].flatMap(([, written]) => written.split(' ')));
    equal([...drawn].filter(name => !new RegExp(`\\.${name}(?![\\w-])`).test(style)), []);
  },
});
