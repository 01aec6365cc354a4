-- What became of an event, and how complete that is; see report_head.sql. One statement, hence one snapshot.
-- $1 org, $2 event, $3 stream, $4 the org's partition, $5 the event's slot among duplicates, $6 most rows of each kind
WITH head AS (
    SELECT now() AS queried_at,
           analytics.org_watermark($1, $3, $4) AS watermark,
           analytics.floor_of($1, 'raw') AS raw_from,
           max(last_event_at) AS last_event_at,
           max(last_rollup_at) AS last_rollup_at
    FROM analytics.freshness_status
    WHERE org_id = $1
),
-- The moment is not known, so every chunk is probed, by its unique index.
stored AS (
    SELECT 'stored' AS kind, e.model_id AS id, e.occurred_at, b.completed_at AS first_at, NULL::timestamptz AS last_at,
           NOT EXISTS (SELECT FROM analytics.rollup_pending p WHERE p.batch_id = e.batch_id) AS flag, NULL::bigint AS copies,
           NULL::text[] AS reasons
    FROM (
        SELECT model_id, occurred_at, batch_id FROM analytics.usage_events
        WHERE org_id = $1 AND event_id = $2
        ORDER BY occurred_at DESC
        LIMIT $6
    ) AS e
    -- Rows of the ledger are folded in the end.
    LEFT JOIN analytics.ingestion_batches b ON b.batch_id = e.batch_id
),
duplicates AS (
    SELECT 'duplicate', NULL::uuid, occurred_at, first_at, last_at, conflict, copies, NULL::text[]
    FROM analytics.duplicates
    WHERE org_id = $1 AND slot = $5 AND event_id = $2
),
rejections AS (
    SELECT 'rejected', dead_letter_id, NULL::timestamptz, rejected_at, replayed_at, correction IS NOT NULL, NULL::bigint, reasons
    FROM analytics.dead_letters
    WHERE org_id = $1 AND event_id = $2
    ORDER BY dead_letter_id DESC
    LIMIT $6
),
found AS (
    SELECT * FROM stored UNION ALL SELECT * FROM duplicates UNION ALL SELECT * FROM rejections
)
-- The head comes once even where nothing is found.
SELECT head.*, found.*
FROM head LEFT JOIN found ON true
ORDER BY found.kind, found.occurred_at DESC NULLS LAST, found.id DESC
