-- One day of events as the service would have stored them: in the order of time, in batches of 5,000 that the ledger has.
-- :day the UTC day, :number its number (from 0), :batches batches, :orgs × :models drawn by Zipf's law. Run once a day, as the owner;
-- days may be filled beside each other. Shapes are those of `publish --events` (src/workload/catalogue.rs).
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET synchronous_commit = off;
SET jit = off;

CREATE FUNCTION pg_temp.id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid
$$;
CREATE FUNCTION pg_temp.zipf(n int) RETURNS float8[] LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg(part / total ORDER BY rank) FROM (
        SELECT rank, sum(1.0 / rank) OVER (ORDER BY rank) AS part, sum(1.0 / rank) OVER () AS total
        FROM generate_series(1, n) AS rank) AS laws
    WHERE rank < n
$$;

BEGIN;
-- Batches of a day have numbers of their own, so the chain holds whichever day is filled first.
CREATE TEMP TABLE batch ON COMMIT DROP AS
SELECT b, ('00000000-0000-7000-8000-' || lpad(to_hex(:number * :batches + b), 12, '0'))::uuid AS batch_id
FROM generate_series(0, :batches - 1) AS b;
ANALYZE batch;

-- The draws of a row are made once, below; what follows from them, above. The index of an array begins at 1.
INSERT INTO analytics.usage_events
       (occurred_at, org_id, event_id, model_id, batch_id, latency_ms, input_tokens, output_tokens, status, cost_cents,
        actor_id, client_id, error_code, metadata)
SELECT timestamptz :'day' + (n + jitter) * (interval '1 day' / (:batches * 5000.0)),
       a.orgs[org], gen_random_uuid(), a.models[model], batch_id,
       ((200 + 0.3 * input + 18 * output) * (0.8 + 0.4 * spread))::int, input, output,
       a.statuses[outcome + 1],
       round((input * a.input_prices[model % 6 + 1] + output * a.output_prices[model % 6 + 1])::numeric / 1000000, 4),
       CASE WHEN actor < 0.5 THEN a.actors[(org - 1) * 32 + (actor * 64)::int % 32 + 1] END,
       CASE WHEN client < 0.75 THEN a.clients[(client * 8)::int % 6 + 1] END,
       a.codes[outcome + 1],
       CASE WHEN meta < 0.5 THEN a.metadata[(meta * 24)::int % 12 + 1] END
FROM (
    SELECT n, batch_id, random() AS jitter, random() AS spread, random() AS actor, random() AS client, random() AS meta,
           width_bucket(random(), l.orgs) + 1 AS org, width_bucket(random(), l.models) + 1 AS model,
           width_bucket(random(), '{0.99, 0.9925, 0.995, 0.998}') AS outcome,
           8 + floor(random() * 64)::int * floor(random() * 64)::int AS input,
           1 + floor(random() * 24)::int * floor(random() * 24)::int AS output
    FROM (SELECT * FROM batch ORDER BY b OFFSET 0) AS batches
         CROSS JOIN LATERAL generate_series(b * 5000, b * 5000 + 4999) AS n
         CROSS JOIN (SELECT pg_temp.zipf(:orgs) AS orgs, pg_temp.zipf(:models) AS models OFFSET 0) AS l
    OFFSET 0
) AS drawn
CROSS JOIN (
    SELECT (SELECT array_agg(pg_temp.id(n) ORDER BY n) FROM generate_series(1, :orgs) AS n) AS orgs,
           (SELECT array_agg(pg_temp.id(n) ORDER BY n) FROM generate_series(1, :models) AS n) AS models,
           (SELECT array_agg(pg_temp.id(65536 + n) ORDER BY n) FROM generate_series(1, :orgs * 32) AS n) AS actors,
           '{success,error,error,throttled,timeout}'::analytics.inference_status[] AS statuses,
           '{null,upstream_500,content_filter,rate_limit,deadline_exceeded}'::text[] AS codes,
           '{250,15,300,80,110,7}'::int[] AS input_prices, '{1000,60,1500,400,440,30}'::int[] AS output_prices,
           '{web-console,batch-jobs,mobile-app,search-api,notebooks,support-bot}'::text[] AS clients,
           (SELECT array_agg(jsonb_build_object('region', region, 'guardrailVersion', version))
            FROM unnest('{eu-west-1,us-east-1,us-west-2,ap-south-1}'::text[]) AS region,
                 unnest('{2026-01,2026-03,2026-04}'::text[]) AS version) AS metadata
    OFFSET 0
) AS a;

-- A batch ends where its last event lies, so its commit falls into the same day.
INSERT INTO analytics.ingestion_batches
       (batch_id, stream, incarnation, partition, kind, first_offset, next_offset, received, stored, duplicates, conflicts,
        rejected, late, orgs, occurred_from, occurred_to, retries, started_at, completed_at)
SELECT batch_id, 'fill', 1, 0, 'live', (:number * :batches + b)::bigint * 5000, (:number * :batches + b + 1)::bigint * 5000,
       5000, 5000, 0, 0, 0, 0, orgs, occurred_from, occurred_to, 0, occurred_from, occurred_to
FROM batch JOIN (
    SELECT batch_id, count(DISTINCT org_id) AS orgs, min(occurred_at) AS occurred_from, max(occurred_at) AS occurred_to
    FROM analytics.usage_events
    WHERE occurred_at >= :'day' AND occurred_at < timestamptz :'day' + interval '1 day'
    GROUP BY batch_id
) AS stored USING (batch_id);

INSERT INTO analytics.ledger_hourly
SELECT org_id, date_trunc('hour', completed_at, 'UTC'), count(*), count(*), 0, 0, 0, 0
FROM analytics.usage_events JOIN analytics.ingestion_batches USING (batch_id)
WHERE occurred_at >= :'day' AND occurred_at < timestamptz :'day' + interval '1 day'
GROUP BY 1, 2;
COMMIT;

-- As autovacuum leaves a day that is over.
SELECT format('VACUUM (ANALYZE) %I.%I', chunk_schema, chunk_name)
FROM timescaledb_information.chunks
WHERE hypertable_schema = 'analytics' AND hypertable_name = 'usage_events' AND range_start = :'day'
\gexec
