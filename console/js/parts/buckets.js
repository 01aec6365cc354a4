// The table of a chart: a row for each bucket, and of a stacked one a column for each series.
import { html } from '../view.js';
import { MEASURES } from '../series.js';
import { dateIn, hour, longDay } from '../time.js';
import { Badge } from './panel.js';
import { t } from '../texts.js';

/** When a bucket begins: `timeOf(row)` is its first moment. */
export function timeColumn(timeOf, granularity, zone) {
  const hours = granularity === 'hour';
  return {
    key: 'time',
    time: true,
    label: t.columns[granularity],
    file: hours ? 'hour_utc' : 'day',
    value: row => (hours ? new Date(timeOf(row)).toISOString().replace('.000', '') : dateIn(timeOf(row), zone)),
    sort: timeOf,
    cell: row => (hours ? hour : longDay)(timeOf(row), zone),
  };
}

/** Whether a bucket may still grow: `pointOf(row)` is what the API has of it. */
export const finalColumn = pointOf => ({
  key: 'final',
  label: t.columns.final,
  value: row => (pointOf(row).final ? t.final : t.open),
  cell: row => (pointOf(row).final ? t.final : html`<${Badge} tone="open">${t.open}<//>`),
});

export function bucketTable({ at, whole, series, figure, measure, granularity, zone }) {
  const { exact } = MEASURES[measure];
  return {
    rows: whole.map((point, n) => ({ n, point })).filter(row => row.point),
    rowKey: row => row.n,
    sort: 'time',
    columns: [
      timeColumn(row => at.times[row.n], granularity, zone),
      ...(series.length > 1
        ? series.map((one, s) => ({
            key: `s${s}`,
            label: html`<bdi class="clip">${one.name}</bdi>`,
            file: one.name,
            right: true,
            value: row => figure(row.n, s),
            cell: row => exact(figure(row.n, s)),
          }))
        : []),
      {
        key: 'total',
        label: t.columns.total,
        file: `total ${measure}`,
        right: true,
        value: row => row.point[measure],
        cell: row => exact(row.point[measure]),
      },
      finalColumn(row => row.point),
    ],
  };
}
