-- How complete attribution of an org is. $1 org, $2 set, $3 stream and $4 the org's partition
SELECT now() AS queried_at,
       analytics.attribution_watermark($1, $2, $3, $4) AS watermark,
       analytics.floor_of($1, 'raw') AS raw_from,
       max(last_event_at) AS last_event_at,
       max(last_rollup_at) AS last_rollup_at
FROM analytics.freshness_status
WHERE org_id = $1
