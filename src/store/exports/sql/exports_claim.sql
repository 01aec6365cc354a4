-- Takes the job whose turn it is. Claims are made one at a time (see CLAIM_LOCK), so what is counted here holds until the
-- claim is made.
-- $1 claim, $2 process, $3 its name, $4 most running jobs of an org, $5 age of a heartbeat from which on its job is taken over
WITH candidates AS (
    SELECT job_id, org_id, created_at, status
    FROM analytics.export_jobs
    WHERE status = 'pending' AND next_attempt_at <= clock_timestamp()
    UNION ALL
    -- The process that had it is gone, or as good as gone: another claim's number keeps it from ending the job.
    SELECT job_id, org_id, created_at, status
    FROM analytics.export_jobs
    WHERE status = 'running' AND heartbeat_at < clock_timestamp() - $5
),
orgs AS (
    -- An org waits since its turn came last, or since its oldest job is there, if that is later: with that alone, an org that requests
    -- for a hundred exports would make all others wait for all of them.
    SELECT org_id,
           greatest(min(created_at), (SELECT max(started_at) FROM analytics.export_jobs s
                                      WHERE s.org_id = c.org_id AND s.started_at IS NOT NULL)) AS waits_since,
           (SELECT count(*) FROM analytics.export_jobs r
            WHERE r.org_id = c.org_id AND r.status = 'running' AND r.heartbeat_at >= clock_timestamp() - $5) AS running
    FROM candidates c
    GROUP BY org_id
),
next AS (
    SELECT j.job_id
    FROM candidates JOIN orgs USING (org_id) JOIN analytics.export_jobs j USING (job_id)
    WHERE orgs.running < $4
      -- Looked at again when it is locked: it may have been cancelled since, or have said that it is alive.
      AND (j.status = 'pending' OR j.status = 'running' AND j.heartbeat_at < clock_timestamp() - $5)
    -- Within an org the oldest; one that was begun before is.
    ORDER BY orgs.running, orgs.waits_since, orgs.org_id, candidates.status DESC, candidates.created_at, j.job_id
    LIMIT 1
    -- Not one that is being cancelled or ended at this moment.
    FOR UPDATE OF j SKIP LOCKED
)
UPDATE analytics.export_jobs
SET status = 'running', claim_id = $1, claim_reads_all = $1, claimed_by = $2, claimed_name = $3, heartbeat_at = clock_timestamp(),
    started_at = clock_timestamp(), attempts = attempts + 1
FROM next
WHERE export_jobs.job_id = next.job_id
RETURNING export_jobs.*
