-- Purges old rows of all orgs, at most so many, and raises the floors of these orgs: readers see both or neither.
-- How many rows they were. The only index on these tables begins with the org: so orgs are found by hopping from one to
-- the next, and the old rows of each lie together at its beginning.
-- $1 the moment before which rows are old, $2 orgs that have another, $3 theirs, $4 most rows
WITH RECURSIVE orgs (org_id) AS (
    (SELECT org_id FROM analytics.{table} WHERE org_id IS NOT NULL ORDER BY org_id LIMIT 1)
    UNION ALL
    SELECT (SELECT next.org_id FROM analytics.{table} next WHERE next.org_id > orgs.org_id ORDER BY next.org_id LIMIT 1)
    FROM orgs WHERE orgs.org_id IS NOT NULL
),
-- No other session changes these rows meanwhile: the caller holds the lock that mergers share.
gone AS (
    DELETE FROM analytics.{table} WHERE ctid = ANY(ARRAY(
        SELECT old.ctid
        FROM orgs
        LEFT JOIN unnest($2::uuid[], $3::timestamptz[]) AS own (org_id, before) USING (org_id)
        CROSS JOIN LATERAL (
            SELECT r.ctid FROM analytics.{table} r
            WHERE r.org_id = orgs.org_id AND r.{at} < coalesce(own.before, $1)
            LIMIT $4
        ) old
        LIMIT $4))
    RETURNING org_id
),
-- Up to where all of it goes, also where this is the first piece only.
raised AS (
    INSERT INTO analytics.retention_floors AS f (org_id, kind, floor_at)
    SELECT g.org_id, '{kind}', coalesce(own.before, $1)
    FROM (SELECT DISTINCT org_id FROM gone) g
    LEFT JOIN unnest($2::uuid[], $3::timestamptz[]) AS own (org_id, before) USING (org_id)
    ORDER BY g.org_id
    ON CONFLICT (org_id, kind) DO UPDATE SET floor_at = excluded.floor_at WHERE f.floor_at < excluded.floor_at
)
SELECT count(*) FROM gone
