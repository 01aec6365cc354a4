-- How complete an answer about an org is, of the models asked for, and from when on its raw events are there: of the same
-- snapshot, so that what is taken away meanwhile is told or still read.
-- $1 org, $4 models (empty: all), $6 stream, $7 the org's partition
    SELECT now() AS asked_at,
           (SELECT watermark FROM analytics.partition_watermarks WHERE stream = $6 AND partition = $7) AS watermark,
           (SELECT max(raw_from) FROM analytics.raw_horizons WHERE org_id = $1 OR org_id IS NULL) AS raw_from,
           max(last_event_at) AS last_event_at,
           max(last_rollup_at) AS last_rollup_at
    FROM analytics.freshness_status
    WHERE org_id = $1 AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4))
