-- What waits in the database, and what `verify` found last: one row.
-- Each is counted by an index that has nothing else: what is done leaves it.
WITH unfolded AS (
    SELECT stream, partition, count(*) AS batches, min(committed_at) AS since FROM analytics.attribution_pending GROUP BY 1, 2
), to_count AS (
    SELECT noted_at FROM analytics.attribution_recounts JOIN analytics.attribution_sets USING (set_id) WHERE retired_at IS NULL
)
SELECT (SELECT count(*) FROM analytics.rollup_pending) AS rollup,
       (SELECT min(committed_at) FROM analytics.rollup_pending) AS rollup_since,
       (SELECT coalesce(sum(batches), 0)::bigint FROM unfolded) AS attribution,
       (SELECT min(since) FROM unfolded) AS attribution_since,
       -- Up to where usage is known and attribution is not yet.
       (SELECT coalesce(extract(epoch FROM max(k.watermark - least(coalesce(a.watermark, u.since), k.watermark))), 0)::float8
        FROM unfolded u
             JOIN analytics.known_watermarks k USING (stream, partition)
             LEFT JOIN analytics.attribution_watermarks a USING (stream, partition)) AS attribution_lag,
       (SELECT count(*) FROM to_count) AS recounts,
       (SELECT min(noted_at) FROM to_count) AS recounts_since,
       (SELECT count(*) FROM analytics.dead_letters WHERE correction IS NOT NULL AND replayed_at IS NULL) AS corrections,
       (SELECT min(corrected_at) FROM analytics.dead_letters WHERE correction IS NOT NULL AND replayed_at IS NULL)
           AS corrections_since,
       (SELECT count(*) FROM analytics.export_jobs WHERE status = 'pending') AS exports,
       (SELECT min(created_at) FROM analytics.export_jobs WHERE status = 'pending') AS exports_since,
       verified.finished_at AS verified_at,
       (verified.summary ->> 'differences')::bigint AS differences
FROM (SELECT) AS one
     LEFT JOIN analytics.maintenance_runs verified ON verified.task = 'verify' AND verified.outcome = 'done'
