-- The continuous aggregates: hours of raw events, days of these hours. They have what was materialised, and nothing else.
-- Latencies are sorted into the same buckets as by the service: {bounds}, of which there are {buckets}.
CREATE MATERIALIZED VIEW IF NOT EXISTS analytics.hourly_continuous
    WITH (timescaledb.continuous, timescaledb.materialized_only = true, timescaledb.create_group_indexes = false) AS
SELECT org_id,
       time_bucket(INTERVAL '1 hour', occurred_at) AS bucket_start,
       model_id,
       count(*) FILTER (WHERE status = 'success') AS successes,
       count(*) FILTER (WHERE status = 'error') AS errors,
       count(*) FILTER (WHERE status = 'timeout') AS timeouts,
       count(*) FILTER (WHERE status = 'throttled') AS throttled,
       sum(input_tokens) AS input_tokens,
       sum(output_tokens) AS output_tokens,
       sum(cost_cents) AS cost_cents,
       sum(latency_ms) AS latency_sum,
       min(latency_ms) AS latency_min,
       max(latency_ms) AS latency_max,
       -- In the middle of its bucket, where no rounding moves it into the next.
       analytics.histogram_entries(histogram(
           width_bucket(latency_ms - 1, '{bounds}'::integer[])::double precision + 0.5, 0, {buckets}, {buckets})) AS latency_entries,
       max(occurred_at) AS last_event_at
FROM analytics.usage_events
GROUP BY 1, 2, 3
WITH NO DATA;

CREATE MATERIALIZED VIEW IF NOT EXISTS analytics.daily_continuous
    WITH (timescaledb.continuous, timescaledb.materialized_only = true, timescaledb.create_group_indexes = false) AS
SELECT org_id,
       time_bucket(INTERVAL '1 day', bucket_start) AS bucket_start,
       model_id,
       sum(successes)::bigint AS successes,
       sum(errors)::bigint AS errors,
       sum(timeouts)::bigint AS timeouts,
       sum(throttled)::bigint AS throttled,
       sum(input_tokens)::bigint AS input_tokens,
       sum(output_tokens)::bigint AS output_tokens,
       sum(cost_cents) AS cost_cents,
       sum(latency_sum)::bigint AS latency_sum,
       min(latency_min) AS latency_min,
       max(latency_max) AS latency_max,
       analytics.sum_entries(latency_entries) AS latency_entries,
       max(last_event_at) AS last_event_at
FROM analytics.hourly_continuous
GROUP BY 1, 2, 3
WITH NO DATA;
