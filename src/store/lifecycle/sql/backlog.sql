-- What waits in the database, and what `verify` found last: one row.
-- Each is counted by an index that has nothing else: what is done leaves it.
SELECT (SELECT count(*) FROM analytics.rollup_pending) AS rollup,
       (SELECT min(committed_at) FROM analytics.rollup_pending) AS rollup_since,
       (SELECT count(*) FROM analytics.dead_letters WHERE correction IS NOT NULL AND replayed_at IS NULL) AS corrections,
       (SELECT min(corrected_at) FROM analytics.dead_letters WHERE correction IS NOT NULL AND replayed_at IS NULL)
           AS corrections_since,
       (SELECT count(*) FROM analytics.export_jobs WHERE status = 'pending') AS exports,
       (SELECT min(created_at) FROM analytics.export_jobs WHERE status = 'pending') AS exports_since,
       verified.finished_at AS verified_at,
       (verified.summary ->> 'differences')::bigint AS differences
FROM (SELECT) AS one
     LEFT JOIN analytics.maintenance_runs verified ON verified.task = 'verify' AND verified.outcome = 'done'
