// Exports: a file is requested, generated, downloaded, and compared with what is known now.
import { html, useEffect, useState } from '../view.js';
import { useAct } from '../act.js';
import { get, ofOrg, post, useData } from '../api.js';
import { setQuery } from '../router.js';
import { pageAddress } from '../state.js';
import { addDays, dateIn, moment, rangeLabel } from '../time.js';
import { bytes, count, exactMoney } from '../format.js';
import { Badge, Choice, CopyButton, Dialog, Facts, Failure, Pager, Panel, Skeleton } from '../parts/panel.js';
import { ExportRequest } from '../parts/export-request.js';
import { Table } from '../parts/table.js';
import { t } from '../texts.js';

const EVERY = 3;
const IDLE_EVERY = 30;
const TONES = { pending: '', running: 'accent', succeeded: 'ok', failed: 'bad', expired: '', cancelling: 'warn', cancelled: '' };
const STATUSES = ['all', 'succeeded', 'running', 'pending', 'failed', 'expired'];

export default function Exports({ state }) {
  const { org, zone, query } = state;
  const [waits, setWaits] = useState(false);
  // The job whose dialog is open, and whether it is to be verified at once.
  const [open, setOpen] = useState(null);
  const status = STATUSES.includes(query.status) ? query.status : 'all';
  const params = { status: status === 'all' ? undefined : status, limit: 50, cursor: query.cursor };
  const of = useData(
    `exports ${org} ${status} ${query.cursor}`,
    async ({ poll }) => {
      const page = await get(ofOrg(org, 'exports'), { poll, params });
      setWaits(page.exports.some(isLive));
      return page;
    },
    { every: state.polls ? (waits ? EVERY : IDLE_EVERY) : 0 },
  );
  return html`
    <${ExportRequest} state=${state} onDone=${of.reload} />
    <${Panel} title=${t.exports.list} note=${t.exports.listNote} of=${of} zone=${zone}
      empty=${page => page.exports.length === 0 && { title: t.exports.none, hint: t.exports.noneHint }}
      actions=${html`<${Choice} label=${t.exports.status} value=${status}
        options=${STATUSES.map(one => [one, t.exports.statuses[one]])}
          onChange=${one => setQuery({ status: one, cursor: undefined })} />`}>
      ${page => html`<${Jobs} jobs=${page.exports} state=${state} onOpen=${(job, verify) => setOpen({ job, verify })} />
        <${Pager} query=${query} next=${page.nextCursor} />`}
    <//>
    ${open && html`<${Job} state=${state} job=${of.data?.exports.find(one => one.jobId === open.job.jobId) ?? open.job}
      verify=${open.verify} onClose=${() => setOpen(null)} onChanged=${of.reload} />`}`;
}

const isLive = job => ['pending', 'running'].includes(job.status);

/** Its status, and whether somebody has cancelled it: the API has that beside the status. */
export function progress(job) {
  if (job.status === 'failed' && job.error === 'cancelled') return 'cancelled';
  return isLive(job) && job.cancelRequested ? 'cancelling' : job.status;
}

/** Where a job stands. */
const JobBadge = ({ job }) => html`<${Badge} tone=${TONES[progress(job)]}>${t.exports.statuses[progress(job)]}<//>`;

/** Why it failed, or its last attempt. */
const errorOf = job => progress(job) !== 'cancelled' && job.error;

/** Days of an export are UTC's. */
const exportRange = ({ timeRange: { start, end } }) => {
  const whole = [start, end].every(one => one.endsWith('T00:00:00Z'));
  return whole
    ? rangeLabel({ start: start.slice(0, 10), end: end.slice(0, 10) })
    : `${moment(start, 'UTC')} – ${moment(end, 'UTC')}`;
};

/** The days of a zone that a range of moments touches, as the address has them. */
const daysIn = ({ start, end }, zone) => ({
  range: undefined,
  start: dateIn(Date.parse(start), zone),
  end: addDays(dateIn(Date.parse(end) - 1, zone), 1),
});

const downloadOf = (org, job) => ofOrg(org, 'exports', job.jobId, 'download');

const NARROW = '(max-width: 480px)';
function useNarrow() {
  const [narrow, setNarrow] = useState(() => matchMedia(NARROW).matches);
  useEffect(() => {
    const media = matchMedia(NARROW);
    const change = () => setNarrow(media.matches);
    media.addEventListener('change', change);
    return () => media.removeEventListener('change', change);
  }, []);
  return narrow;
}

function Jobs({ jobs, state, onOpen }) {
  const { org, zone } = state;
  const facts = [
    {
      key: 'createdAt',
      time: true,
      label: t.exports.requestedAt,
      value: job => job.createdAt,
      cell: job => moment(job.createdAt, zone),
    },
    { key: 'range', time: true, label: t.exports.range, value: job => exportRange(job), sort: job => job.timeRange.start },
    {
      key: 'groupBy',
      label: t.exports.rowPer,
      value: job => t.exports.row(job),
    },
    {
      key: 'status',
      label: t.exports.status,
      value: job => progress(job),
      cell: job => html`<${JobBadge} job=${job} />${errorOf(job) && html`<div class="quiet">${job.error}</div>`}`,
    },
    {
      key: 'cost',
      label: t.measures.costEstimateCents,
      right: true,
      value: job => job.totals?.costEstimateCents,
      cell: job => exactMoney(job.totals?.costEstimateCents),
    },
    { key: 'rowCount', label: t.exports.rowCount, right: true, value: job => job.rowCount, cell: job => count(job.rowCount) },
    { key: 'bytes', label: t.letters.size, right: true, value: job => job.bytes, cell: job => bytes(job.bytes) },
  ];
  const acts = [
    {
      key: 'file',
      label: t.exports.file,
      unsorted: true,
      screenOnly: true,
      value: job => job.outputUri,
      cell: job => (job.status === 'succeeded' ? html`<a href=${downloadOf(org, job)} download>${t.exports.download}</a>` : '–'),
    },
    {
      key: 'verify',
      label: t.exports.check,
      unsorted: true,
      screenOnly: true,
      value: () => '',
      cell: job =>
        job.status === 'succeeded'
          ? html`<button type="button" class="small" aria-label=${t.exports.verifyOf(exportRange(job))}
            onClick=${() => onOpen(job, true)}>${t.exports.verify}</button>`
          : '–',
    },
    {
      key: 'details',
      label: html`<span class="off-screen">${t.exports.details}</span>`,
      unsorted: true,
      screenOnly: true,
      value: () => '',
      cell: job => html`<button type="button" class="small" aria-label=${t.exports.detailsOf(exportRange(job))}
        onClick=${() => onOpen(job, false)}>${t.exports.details}</button>`,
    },
  ];
  // Behind all others they would be out of sight there.
  const columns = useNarrow() ? [facts[0], ...acts, ...facts.slice(1)] : [...facts, ...acts];
  return html`<${Table} columns=${columns} rows=${jobs} sort="-createdAt" name=${`exports-${org.slice(0, 8)}`}
    caption=${t.exports.list} rowKey=${job => job.jobId} />`;
}

function Job({ state, job: listed, verify, onClose, onChanged }) {
  const { org, zone } = state;
  const [found, setFound] = useState();
  // The job as it was when it was cancelled: newer than the list until that has an end of it.
  const [cancelled, setCancelled] = useState();
  const job = cancelled && isLive(listed) ? cancelled : listed;
  const { act, busy, problem } = useAct();
  const run = (what, then) => act(async () => then(await post(ofOrg(org, 'exports', job.jobId, what))));
  useEffect(() => {
    if (verify) run('verify', setFound);
  }, []);
  const cancel = () =>
    run('cancel', response => {
      setCancelled(response);
      onChanged();
    });
  return html`<${Dialog} title=${t.exports.job(exportRange(job))} onClose=${onClose} wide>
    <${Facts} of=${[
      [t.exports.status, html`<${JobBadge} job=${job} />`],
      errorOf(job) && [t.exports.error, job.error],
      [t.exports.requestedBy, html`<bdi>${job.initiatedBy}</bdi>, ${moment(job.createdAt, zone)}`],
      job.completedAt && [t.exports.completedAt, moment(job.completedAt, zone)],
      job.expiresAt && [t.exports.expiresAt, moment(job.expiresAt, zone)],
      job.asOf && [t.exports.completeTo, moment(job.asOf, zone)],
      job.totals && [t.measures.costEstimateCents, exactMoney(job.totals.costEstimateCents)],
      job.totals && [t.measures.invocations, count(job.totals.invocations)],
      job.checksum && [t.exports.sha, html`<code class="clip">${job.checksum}</code> <${CopyButton} text=${job.checksum} />`],
    ]} />
    <div class="buttons">
      ${
        job.status === 'succeeded' &&
        html`<a class="button primary" href=${downloadOf(org, job)} download>${t.exports.download}</a>
        <button type="button" aria-disabled=${busy}
          onClick=${() => run('verify', setFound)}>${busy ? t.exports.verifying : t.exports.verify}</button>`
      }
      ${isLive(job) && html`<button type="button" disabled=${job.cancelRequested} aria-disabled=${busy}
        onClick=${cancel}>${t.exports.cancel}</button>`}
    </div>
    <p role="status">${cancelled && t.exports.afterCancel[progress(job)]}</p>
    ${job.status === 'succeeded' && html`<p class="quiet">${t.exports.linkHint}</p>`}
    ${busy && html`<${Skeleton} lines=2 />`}
    ${problem && html`<${Failure} problem=${problem} />`}
    ${found && html`<${Verdict} found=${found} job=${job} state=${state} />`}
  <//>`;
}

function Verdict({ found, job, state }) {
  const { zone } = state;
  const rows = ['invocations', 'inputTokens', 'outputTokens', 'costEstimateCents'];
  const text = (key, value) => (key === 'costEstimateCents' ? exactMoney(value) : count(value));
  return html`<div class="verdict" role="status">
    <p><${Badge} tone=${found.holds ? 'ok' : 'bad'}>${found.holds ? t.exports.holds : t.exports.broken}<//> ${t.exports.verdicts[found.verdict] ?? found.verdict}</p>
    ${found.problems.length > 0 && html`<ul>${found.problems.map(one => html`<li>${one}</li>`)}</ul>`}
    <div class="scroll" tabindex="0" role="group" aria-label=${t.exports.compare}><table>
    <caption class="off-screen">${t.exports.compare}</caption>
      <thead><tr><td></td><th scope="col" class="number">${t.exports.inFile}</th>
      <th scope="col" class="number">${t.exports.nowKnown}</th><th scope="col" class="number">${t.exports.difference}</th></tr>
      </thead>
      <tbody>${rows.map(key => html`<tr><th scope="row">${t.measures[key]}</th>
      <td class="number">${text(key, found.totals?.[key])}</td><td class="number">${text(key, found.rollups?.[key])}</td>
      <td class="number">${text(key, found.difference?.[key])}</td></tr>`)}</tbody></table></div>
    ${found.revisions > 0 && html`<p class="quiet">${t.exports.revised(count(found.revisions))} <a
      href=${pageAddress(state, 'trust', daysIn(job.timeRange, zone))}>${t.exports.toChanges}</a></p>`}
    <p class="quiet">${t.exports.checkedSum(found.checksum === found.foundChecksum)} ${found.asOf && t.exports.known(moment(found.asOf, zone))}</p>
  </div>`;
}
