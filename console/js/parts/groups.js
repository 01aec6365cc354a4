// Who spent it, largest first, with where everything else is: the rows add up to the total.
import { html, useState } from '../view.js';
import { useAct } from '../act.js';
import { ofOrg, post } from '../api.js';
import { hasRole, may, pageAddress } from '../state.js';
import { fileName, MEASURES, restOf } from '../series.js';
import { change, plain, subtract } from '../money.js';
import { exactMoney, moneyChange, percent, signed } from '../format.js';
import { announce, CopyButton, Dialog, Failure, Panel, Value } from './panel.js';
import { Table } from './table.js';
import { moment } from '../time.js';
import { t } from '../texts.js';

const canHaveNames = by => ['modelId', 'clientId', 'actorId'].includes(by) || by.startsWith('meta.');

export function Groups({ me, state, chosen, of, earlier }) {
  const [naming, setNaming] = useState(null);
  const { by, measure } = chosen;
  const canName = canHaveNames(by) && hasRole(me, 'org_admin', 'system_admin');
  return html`
    <${Panel} title=${t.groups.title(t.by(by))} note=${t.groups.note} of=${of} zone=${state.zone}
      empty=${({ usage }) => usage.series.length === 0 && t.usage.empty}>
      ${({ usage, groups, refused }) =>
        refused
          ? html`<${Failure} problem=${refused} />`
          : html`${isBehind(groups, usage) && html`<p class="notice">${t.groups.behind(groups.asOf && moment(groups.asOf, state.zone))}</p>`}
        <${GroupTable} groups=${groups} by=${by} measure=${measure} me=${me} state=${state} earlier=${earlier}
        onName=${canName ? setNaming : undefined} />`}
    <//>
    ${
      naming &&
      html`<${NameDialog} state=${state} by=${by} group=${naming} onClose=${() => setNaming(null)} onDone=${() => {
        setNaming(null);
        of.reload();
      }} />`
    }`;
}

function GroupTable({ groups, by, measure, me, state, earlier, onName }) {
  const all = plain(groups.totals[measure]);
  const before = earlier?.data?.groups && new Map(earlier.data.groups.groups.map(group => [group.key[by], group.totals]));
  const moreBefore = !!earlier?.data?.groups?.nextCursor;
  const was = group => before?.get(group.key[by])?.[measure] ?? (before && !moreBefore ? 0 : undefined);
  const rows = [...groups.groups, ...(before && !moreBefore ? gone(groups, earlier.data.groups, by) : [])];
  const totalBefore = before && earlier.data.groups.totals[measure];
  const diff = group => (was(group) === undefined ? undefined : subtract(group.totals[measure], was(group)));
  const exact = key => ({
    value: group => group.totals[key],
    cell: group => MEASURES[key].exact(group.totals[key]),
    foot: MEASURES[key].exact,
  });
  const columns = [
    {
      key: 'name',
      label: t.by(by),
      file: by,
      value: group => group.key[by],
      sort: group => group.names?.[by] ?? group.key[by],
      cell: group => html`<span class="who"><${Value} id=${group.key[by]} name=${group.names?.[by]} none=${t.none(by)} />
        ${onName && group.key[by] !== null && html`<button type="button" class="link quiet no-print"
          onClick=${() => onName(group)}>${group.names?.[by] ? t.groups.rename : t.groups.name}</button>`}</span>`,
    },
    { key: 'called', fileOnly: true, file: 'name', value: group => group.names?.[by] },
    // Beside the period before there is room for what is compared alone.
    ...(earlier ? [...new Set([measure, 'invocations', 'errors'])] : Object.keys(MEASURES)).map(key => ({
      key,
      label: t.measures[key],
      file: key,
      right: true,
      ...exact(key),
    })),
    {
      key: 'share',
      file: 'share',
      label: t.groups.share(t.measures[measure]),
      right: true,
      value: group => (all ? plain(group.totals[measure]) / all : null),
      cell: group => html`<${Share} of=${all ? plain(group.totals[measure]) / all : 0} />`,
    },
    ...(earlier
      ? [
          {
            key: 'before',
            label: t.groups.before,
            right: true,
            value: was,
            cell: group => (was(group) === undefined ? '–' : MEASURES[measure].exact(asMeasure(was(group), group.totals[measure]))),
            foot: MEASURES[measure].exact,
          },
          {
            key: 'change',
            label: t.groups.change,
            right: true,
            value: diff,
            cell: group =>
              was(group) === undefined
                ? '–'
                : html`<${Changed} before=${was(group)} after=${group.totals[measure]} measure=${measure} write=${exactMoney} />`,
            foot: total => html`<${Changed} before=${total} after=${groups.totals[measure]} measure=${measure} write=${exactMoney} />`,
          },
        ]
      : []),
  ];
  const rest = (name, totals, kind) => ({ kind, cells: { name, ...totals, share: all ? plain(totals[measure]) / all : null } });
  columns.find(column => column.key === 'share').foot = value => html`<${Share} of=${value ?? 0} />`;
  const foot = [
    ...restOf(groups, by).map(({ name, totals }) => rest(name, totals, 'rest')),
    rest(t.columns.total, { ...groups.totals, before: totalBefore, change: totalBefore }, 'total'),
  ];
  return html`
    <${Table} columns=${columns} rows=${rows} foot=${foot} sort=${`-${measure}`} param="sort"
      name=${fileName(`by-${by}`, state)} caption=${t.groups.title(t.by(by))} rowKey=${group => group.key[by]} />
    ${!groups.rankingExact && html`<p class="quiet">${t.groups.notExact}</p>`}
    ${by === 'modelId' && may(me, 'reliability') && html`<p class="no-print"><a
      href=${pageAddress(state, 'reliability', { by: 'model' })}>${t.groups.reliability}</a></p>`}`;
}

/** Those of the period before that are not there any more, with nothing. Unknown, so none, while others are not listed by their names. */
export function gone({ groups, other }, earlier, by) {
  if (other.groups > 0) return [];
  const here = new Set(groups.map(group => group.key[by]));
  const nothing = totals => Object.fromEntries(Object.entries(totals).map(([key, value]) => [key, value?.minus ? value.minus(value) : 0]));
  return earlier.groups.filter(group => !here.has(group.key[by])).map(group => ({ ...group, totals: nothing(group.totals) }));
}

/** Sums by group follow those of usage. */
const isBehind = (groups, usage) => plain(groups.totals.invocations) !== plain(usage.totals.invocations);
/** Nothing before, in the kind of number that is there now. */
const asMeasure = (value, like) => (value === 0 && like?.minus ? like.minus(like) : value);

const Share = ({ of }) =>
  html`<span class="share"><i style=${{ width: `${Math.max(0, Math.min(1, of)) * 100}%` }}></i></span>
    <span class="share-text">${percent(of)}</span>`;

export function Changed({ before, after, measure, write }) {
  const diff = subtract(after, before);
  const fraction = change(before, after);
  const text = measure === 'costEstimateCents' ? moneyChange(diff, write) : signed(diff);
  return html`<span>${text} <span
    class="quiet">${fraction === null ? (plain(after) > 0 ? t.groups.fresh : '') : percent(fraction, { sign: true })}</span>
      </span>`;
}

function NameDialog({ state, by, group, onClose, onDone }) {
  const id = group.key[by];
  const [name, setName] = useState(group.names?.[by] ?? '');
  const { act, busy, problem } = useAct();
  const save = event => {
    event.preventDefault();
    act(async () => {
      const path = ofOrg(state.org, 'names', by, id);
      await (name.trim() ? post(path, { name: name.trim() }, { method: 'PUT' }) : post(path, undefined, { method: 'DELETE' }));
      announce(t.groups.named);
      onDone();
    });
  };
  return html`<${Dialog} title=${t.groups.nameTitle(t.by(by))} onClose=${onClose}>
    <form onSubmit=${save}>
      <p><code>${id}</code> <${CopyButton} text=${id} /></p>
      <label class="field"><span>${t.groups.nameLabel}</span>
      <input type="text" maxlength="200" value=${name} onInput=${event => setName(event.target.value)} /></label>
      <p class="quiet">${t.groups.nameHint}</p>
      ${problem && html`<${Failure} problem=${problem} />`}
      <div class="buttons"><button class="primary" aria-disabled=${busy}>${t.save}</button><button type="button" onClick=${onClose}>${t.cancel}</button>
      </div>
    </form><//>`;
}
