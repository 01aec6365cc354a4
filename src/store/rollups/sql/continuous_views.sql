-- The readers' views where continuous aggregates have what is final: what is materialised before the cut, and what the table has.
-- Before the cut nothing is in both; what an earlier switch left of days before `continuous_from` is in the table. The cut is joined: as a subquery's value it makes TimescaleDB 2.28 leave out all chunks of a
-- parallel scan.
CREATE OR REPLACE VIEW analytics.{unit}_usage AS
SELECT org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
       latency_histogram, last_event_at, fresh_as_of
FROM analytics.{unit}_rollups
UNION ALL
SELECT m.org_id, m.bucket_start, m.model_id, m.successes, m.errors, m.timeouts, m.throttled, m.input_tokens, m.output_tokens,
       m.cost_cents, m.latency_histogram, m.last_event_at, m.fresh_as_of
FROM analytics.rollup_engine e
JOIN analytics.{unit}_materialised m ON m.bucket_start >= e.continuous_from AND m.bucket_start < e.{unit}_to
