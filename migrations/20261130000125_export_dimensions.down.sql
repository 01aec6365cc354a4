-- What builds from before cannot generate is gone; files that are there stay until their time is over.
UPDATE analytics.export_jobs
SET status = 'failed', claim_id = NULL, error = 'cancelled', completed_at = clock_timestamp()
WHERE (names OR cardinality(dimensions) > 0) AND status IN ('pending', 'running');
DROP TRIGGER refuse_claim ON analytics.export_jobs;
DROP FUNCTION analytics.refuse_claim();
ALTER TABLE analytics.export_jobs DROP COLUMN dimensions, DROP COLUMN names, DROP COLUMN claim_reads_all;
