-- Markers of an org's models and the moment up to which all of the org is known, in one snapshot.
-- $1 org, $2 models (empty: all), $3 stream, $4 the org's partition, $5 most rows
WITH head AS (
    SELECT now() AS queried_at,
           analytics.org_watermark($1, $3, $4) AS watermark
),
markers AS (
    SELECT model_id, last_event_at, last_rollup_at
    FROM analytics.freshness_status
    WHERE org_id = $1 AND (cardinality($2::uuid[]) = 0 OR model_id = ANY ($2))
    ORDER BY model_id
    LIMIT $5
)
-- The head comes once even where there is no marker.
SELECT head.*, markers.*
FROM head LEFT JOIN markers ON true
ORDER BY model_id
