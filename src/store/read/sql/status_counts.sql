-- What is counted of dead letters, exports and replays, and when the schema was created: one row.
-- $1 most open dead letters that are counted, $2 the error of a cancelled export, $3 streams
SELECT clock_timestamp() AS looked_at,
       (SELECT min(installed_on) FROM public._sqlx_migrations) AS installed_at,
       (SELECT count(*) FROM (SELECT FROM analytics.dead_letters WHERE correction IS NULL LIMIT $1) AS counted) AS dead_open,
       -- Ids are in the order of time.
       (SELECT count(*) FROM analytics.dead_letters
        WHERE dead_letter_id >= (SELECT analytics.uuid_v7(clock_timestamp() - INTERVAL '1 day'))) AS dead_last_day,
       (SELECT count(*) FROM analytics.export_jobs WHERE status = 'running') AS exports_running,
       (SELECT count(*) FROM analytics.export_jobs
        WHERE status = 'failed' AND error <> $2 AND completed_at > clock_timestamp() - INTERVAL '1 hour') AS exports_failed_hour,
       (SELECT count(*) FROM analytics.export_jobs
        WHERE status = 'failed' AND error <> $2 AND completed_at > clock_timestamp() - INTERVAL '1 day') AS exports_failed_day,
       (SELECT count(*) FROM analytics.replays WHERE state = 'open' AND stream = ANY ($3)) AS replays_open,
       (SELECT min(requested_at) FROM analytics.replays WHERE state = 'open' AND stream = ANY ($3)) AS replays_since,
       (SELECT count(*) FROM analytics.replays
        WHERE state = 'failed' AND stream = ANY ($3) AND completed_at > clock_timestamp() - INTERVAL '1 day') AS replays_failed_day
