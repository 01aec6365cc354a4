// What the data source does with a response: the root selector on the whole, then each column's selector on each row.
const fs = require("fs");
const jsonata = require("jsonata");

const select = async (selector, from) => {
  const value = await jsonata(selector).evaluate(from);
  return value === undefined ? null : value;
};

const rows = async ({ root, selectors, response }) => {
  const data = root ? await select(root, response) : response;
  const items = Array.isArray(data) ? [...data] : [data];
  if (selectors.length === 0) return items;
  return Promise.all(items.map((item) => Promise.all(selectors.map((selector) => select(selector, item)))));
};

(async () => {
  const queries = JSON.parse(fs.readFileSync(0, "utf8"));
  console.log(JSON.stringify(await Promise.all(queries.map(rows))));
})();
