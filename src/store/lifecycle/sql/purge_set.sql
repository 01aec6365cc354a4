-- Purges old rows of a set of attribution, at most so many, and raises the floors of these orgs: readers see both or neither.
-- How many rows they were. $1 the moment before which rows are old, $2 orgs that have another, $3 theirs, $4 set, $5 most rows
-- No other session changes these rows meanwhile: the caller holds the lock of whoever writes parts.
WITH gone AS (
    DELETE FROM analytics.{table} WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM (
            (SELECT r.ctid FROM analytics.{table} r WHERE r.set_id = $4 AND {units}r.{at} < $1 LIMIT $5)
            UNION
            SELECT theirs.ctid
            FROM unnest($2::uuid[], $3::timestamptz[]) AS own (org_id, before)
                 CROSS JOIN LATERAL (
                     SELECT r.ctid FROM analytics.{table} r
                     WHERE r.org_id = own.org_id AND r.set_id = $4 AND {units}r.{at} < own.before LIMIT $5) AS theirs
        ) AS old
        LIMIT $5))
    RETURNING org_id
),
-- Up to where all of it goes, also where this is the first piece only.
raised AS (
    INSERT INTO analytics.attribution_floors AS f (org_id, set_id, floor_at)
    SELECT g.org_id, $4, coalesce(own.before, $1)
    FROM (SELECT DISTINCT org_id FROM gone) g
    LEFT JOIN unnest($2::uuid[], $3::timestamptz[]) AS own (org_id, before) USING (org_id)
    ORDER BY g.org_id
    ON CONFLICT (org_id, set_id) DO UPDATE SET floor_at = excluded.floor_at WHERE f.floor_at < excluded.floor_at
)
SELECT count(*) FROM gone
