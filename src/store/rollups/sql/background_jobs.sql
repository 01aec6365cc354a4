-- The background jobs that the database runs for the service, and for how long each has had something to do. TimescaleDB's
-- failure flag is unreliable: a run may fail after its work is done, and what counts is what is left undone.
-- $1 streams of all partitions, $2 so long after its end an hour is final
WITH clock AS (
    SELECT clock_timestamp() AS now
),
materialised AS (
    -- Only while readers see continuous aggregates.
    SELECT hourly_to AS upto FROM analytics.rollup_engine WHERE engine = 'continuous' AND NOT leaving
),
refresh AS (
    SELECT (SELECT now - upto FROM clock, materialised) AS lag,
           -- The first hour that is final and not materialised: since when it is.
           (SELECT min(watermark) - $2 - INTERVAL '1 hour' - max(upto) FROM materialised, analytics.known_watermarks
            WHERE stream = ANY ($1) HAVING count(watermark) = cardinality($1)) AS waits
),
compression AS (
    -- Since when the oldest day that is not compressed should have been.
    SELECT j.job_id, (SELECT now FROM clock) - (j.config ->> 'compress_after')::interval - min(c.range_end) AS waits
    FROM analytics.background_jobs() j JOIN timescaledb_information.chunks c
         ON c.hypertable_schema = 'analytics' AND c.hypertable_name = 'usage_events' AND NOT c.is_compressed
    WHERE j.job = 'compression'
    GROUP BY j.job_id, j.config
)
-- One row a job: while one is at work with parallel workers, the extension's view has a row for each of these.
SELECT DISTINCT ON (j.job, j.job_id)
       j.job_id, j.job, j.scheduled, j.every_seconds, j.started_at, j.succeeded_at, j.next_start_at, j.failures,
       clock.now,
       extract(epoch FROM refresh.lag)::double precision AS materialisation_lag_seconds,
       -- Null where it is not known.
       CASE WHEN w.waits >= INTERVAL '0' THEN extract(epoch FROM w.waits) WHEN w.waits < INTERVAL '0' THEN 0 END::bigint AS waits_seconds
FROM clock CROSS JOIN refresh
     LEFT JOIN analytics.background_jobs() j ON true
     LEFT JOIN compression ON compression.job_id = j.job_id
     CROSS JOIN LATERAL (SELECT CASE WHEN j.job = 'refresh' THEN refresh.waits
                                       -- Without a row everything is compressed.
                                       WHEN j.job = 'compression' AND j.config ? 'compress_after' THEN coalesce(compression.waits, INTERVAL '0') END AS waits) w
ORDER BY j.job, j.job_id
