-- Ends jobs that no process works on any more and that are not to be taken over: their cancellation was requested, or they have
-- had all their attempts.
-- $1 age of a heartbeat from which on its job counts as left, $2 most attempts
UPDATE analytics.export_jobs
SET status = 'failed', claim_id = NULL, completed_at = clock_timestamp(),
    error = CASE WHEN cancel_requested THEN 'cancelled'
                 ELSE 'the process that worked on it ended, ' || attempts || ' times at the most: request the export again' END
WHERE job_id IN (
    SELECT job_id FROM analytics.export_jobs
    WHERE status = 'running' AND heartbeat_at < clock_timestamp() - $1 AND (cancel_requested OR attempts >= $2)
    FOR UPDATE SKIP LOCKED)
