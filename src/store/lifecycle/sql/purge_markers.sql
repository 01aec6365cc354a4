-- Deletes freshness markers whose last event is older than its org's rollups are kept. Returns how many.
-- $1 the moment before which rows are old, $2 orgs that have another, $3 theirs
WITH gone AS (
    DELETE FROM analytics.freshness_status WHERE (org_id, model_id) IN (
        SELECT f.org_id, f.model_id
        FROM analytics.freshness_status f
        LEFT JOIN unnest($2::uuid[], $3::timestamptz[]) AS own (org_id, before) USING (org_id)
        WHERE f.last_event_at < coalesce(own.before, $1)
        -- What is being written is not old.
        FOR UPDATE OF f SKIP LOCKED
    )
    RETURNING 1
)
SELECT count(*) FROM gone
