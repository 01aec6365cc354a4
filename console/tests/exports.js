// What the form of an export says before anything is requested, and what is said of a job.
import { daysOf, faults } from '../js/parts/export-request.js';
import { rangeLabel } from '../js/time.js';
import { progress } from '../js/pages/exports.js';
import { t } from '../js/texts.js';

const form = { start: '2026-11-01', end: '2026-11-07', groupBy: 'model', dimensions: [] };
const found = changes => faults({ ...form, ...changes }, '2026-11-29');

export default equal => ({
  a_form_that_is_right_has_no_fault() {
    equal([found({}), found({ end: '2026-11-01' }), found({ groupBy: 'client' })], Array(3).fill({ missing: {} }));
    equal(found({ groupBy: 'dimensions', dimensions: ['clientId'] }), { missing: {} });
  },
  days_of_a_file_are_over_and_not_too_many() {
    const end = changes => found(changes).end;
    equal(found({ start: '2026-11-29', end: '2026-11-29' }), { missing: {} });
    equal(end({ start: '2026-11-29', end: '2026-11-30' }), t.exports.notOver(rangeLabel({ start: '2026-11-29', end: '2026-11-30' })));
    equal(end({ end: '2026-10-31' }), t.exports.backwards);
    equal(end({ start: '2026-10-01', end: '2026-11-01' }), t.exports.tooLong(31));
    equal([end({ end: '2026-11-08' }), end({ end: '2026-11-08', groupBy: 'errorCode' })], [undefined, t.exports.rawTooLong(7)]);
  },
  export_days_are_utc_in_every_zone() {
    const at = Date.parse('2026-11-30T20:00:00Z');
    equal(daysOf({ range: 'yesterday' }, at), { start: '2026-11-29', end: '2026-11-29' });
    equal(daysOf({ range: '7d' }, at), { start: '2026-11-24', end: '2026-11-29' });
    equal(daysOf({ start: '2026-11-01', end: '2026-11-03' }, at), { start: '2026-11-01', end: '2026-11-02' });
    const lastMonth = { start: '2026-10-01', end: '2026-10-31' };
    equal([daysOf({}, at), daysOf({ range: '90d' }, at), daysOf({ range: 'today' }, at)], Array(3).fill(lastMonth));
  },
  a_cancelled_job_is_not_called_failed() {
    const of = (status, cancelRequested, error = null) => progress({ status, cancelRequested, error });
    equal([of('failed', true, 'cancelled'), of('failed', false, 'too many rows'), of('failed', true, 'too many rows')], [
      'cancelled',
      'failed',
      'failed',
    ]);
    equal([of('running', true), of('running', false), of('pending', false)], ['cancelling', 'running', 'pending']);
    equal([of('succeeded', true), of('expired', true)], ['succeeded', 'expired']);
  },
  each_response_to_a_cancellation_has_a_text() {
    const ends = ['cancelling', 'cancelled', 'succeeded', 'failed', 'expired'];
    equal(ends.filter(one => !t.exports.afterCancel[one] || !t.exports.statuses[one]), []);
  },
  what_is_missing_is_named_at_its_field() {
    equal(found({ start: '', end: '' }), { missing: { start: t.exports.noDay, end: t.exports.noDay } });
    equal(found({ groupBy: 'dimensions' }), { missing: { dimensions: t.exports.noDimension } });
  },
  what_can_be_grouped_together_is_named() {
    equal(t.exports.together(['Client', 'Model']), 'client, model together: up to three (without latency)');
    equal(t.exports.together(['Client', 'Model', 'Status', 'Team']), 'client, model, status … together: up to three (without latency)');
  },
});
