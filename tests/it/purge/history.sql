-- A batch an hour of every day, with an event of each org every half hour; every fifth batch rejects a message besides.
CREATE TEMPORARY TABLE hours AS
SELECT (row_number() OVER (ORDER BY at) - 1)::integer AS n, at
FROM generate_series(date_trunc('day', now(), 'UTC') - make_interval(hours => 24 * ({days} - 1)), now() - interval '2 hours',
                     interval '1 hour') AS at;

INSERT INTO analytics.usage_events (occurred_at, org_id, event_id, model_id, batch_id, latency_ms, input_tokens, output_tokens,
                                    status, cost_cents)
SELECT at + half * interval '30 minutes', lpad(to_hex({first_org} + org), 32, '0')::uuid, gen_random_uuid(),
       lpad((half + 1)::text, 32, '0')::uuid, lpad(n::text, 32, '0')::uuid, 10 + half, 3, 4, 'success', 1.25
FROM hours, generate_series(0, {orgs} - 1) AS org, generate_series(0, 1) AS half;

INSERT INTO analytics.ingestion_batches
       (batch_id, stream, incarnation, partition, kind, first_offset, next_offset, received, stored, duplicates, conflicts,
        rejected, late, orgs, occurred_from, occurred_to, retries, started_at, completed_at)
SELECT lpad(n::text, 32, '0')::uuid, 'history', 1, 0, 'live', n * 10, (n + 1) * 10, stored + rejected, stored, 0, 0, rejected, 0,
       {orgs}, at, at + interval '30 minutes', 0, at + interval '59 minutes', at + interval '1 hour'
FROM (SELECT n, at, {orgs} * 2 AS stored, (n % 5 = 0)::integer AS rejected FROM hours) AS batches;

INSERT INTO analytics.hourly_rollups
SELECT org_id, date_trunc('hour', occurred_at, 'UTC'), model_id, count(*), 0, 0, 0, sum(input_tokens), sum(output_tokens),
       sum(cost_cents), sum(latency_ms), min(latency_ms), max(latency_ms), '\x00', max(occurred_at), now()
FROM analytics.usage_events GROUP BY 1, 2, 3;

INSERT INTO analytics.daily_rollups
SELECT org_id, date_trunc('day', occurred_at, 'UTC'), model_id, count(*), 0, 0, 0, sum(input_tokens), sum(output_tokens),
       sum(cost_cents), sum(latency_ms), min(latency_ms), max(latency_ms), '\x00', max(occurred_at), now()
FROM analytics.usage_events GROUP BY 1, 2, 3;

INSERT INTO analytics.ledger_hourly
SELECT org_id, completed_at, count(*), count(*), 0, 0, 0, 0
FROM analytics.usage_events JOIN analytics.ingestion_batches USING (batch_id) GROUP BY 1, 2;

INSERT INTO analytics.ledger_hourly
SELECT NULL, completed_at, rejected, 0, 0, 0, rejected, 0 FROM analytics.ingestion_batches WHERE rejected > 0;

INSERT INTO analytics.rollup_revisions
SELECT gen_random_uuid(), org_id, model_id, bucket_start, 'late', bucket_start, bucket_start, 1, 0, 0, 0, 0, 1, 1, 1, 1
FROM analytics.hourly_rollups;

INSERT INTO analytics.freshness_status
SELECT org_id, gen_random_uuid(), bucket_start, bucket_start, 1, 'fresh' FROM analytics.daily_rollups;

INSERT INTO analytics.partition_offsets (stream, partition, next_offset)
SELECT 'history', 0, max(next_offset) FROM analytics.ingestion_batches;
