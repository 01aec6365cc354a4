-- Raw events of an org in a part of a range, for reliability_raw.sql. {label}, {start} and {end} are put in by the code: the two last are
-- parameters.
-- $1 org, $2 models (empty: all), $5 batches that are not merged yet: what the watermark has not passed is left out
SELECT occurred_at, {label} AS label, status, latency_ms
FROM analytics.usage_events
WHERE org_id = $1 AND occurred_at >= {start} AND occurred_at < {end}
  AND (cardinality($2::uuid[]) = 0 OR model_id = ANY ($2))
  AND batch_id <> ALL ($5::uuid[])
