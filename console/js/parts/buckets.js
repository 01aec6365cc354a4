// The table of a stacked chart: a row for each bucket, a column for each series.
import { html } from '../view.js';
import { MEASURES } from '../series.js';
import { dateIn, hour, longDay } from '../time.js';
import { t } from '../texts.js';

export function bucketTable({ at, whole, series, figure, measure, granularity, zone }) {
  const { exact } = MEASURES[measure];
  const time = n => (granularity === 'hour' ? new Date(at.times[n]).toISOString().replace('.000', '') : dateIn(at.times[n], zone));
  return {
    rows: whole.map((point, n) => ({ n, point })).filter(row => row.point),
    rowKey: row => row.n,
    sort: 'time',
    columns: [
      {
        key: 'time',
        time: true,
        label: t.columns[granularity],
        file: granularity === 'hour' ? 'hour_utc' : 'day',
        value: row => time(row.n),
        sort: row => row.n,
        cell: row => (granularity === 'hour' ? hour(at.times[row.n], zone) : longDay(at.times[row.n], zone)),
      },
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
      {
        key: 'final',
        label: t.columns.final,
        value: row => (row.point.final ? t.final : t.open),
        cell: row => (row.point.final ? t.final : html`<span class="badge open">${t.open}</span>`),
      },
    ],
  };
}
