-- Exports by dimensions of attribution, and with the names that people give to ids. Builds from before would generate such a file as one
-- by model: they get none of these jobs, and show them as by model. Takes milliseconds.
SELECT analytics.works_with_builds_from(20261129000119, this_migration => 20261130000125);

ALTER TABLE analytics.export_jobs
    ADD COLUMN dimensions text[] NOT NULL DEFAULT '{}' CHECK (cardinality(dimensions) <= 3),
    ADD COLUMN names boolean NOT NULL DEFAULT false,
    ADD COLUMN claim_reads_all uuid;
COMMENT ON COLUMN analytics.export_jobs.dimensions IS 'what rows are grouped by, instead of group_by; empty: by group_by';
COMMENT ON COLUMN analytics.export_jobs.names IS 'whether there are names beside ids';
COMMENT ON COLUMN analytics.export_jobs.claim_reads_all IS 'the claim, where it was made by a build that knows these columns';

CREATE FUNCTION analytics.refuse_claim() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RETURN NULL;
END $$;
CREATE TRIGGER refuse_claim BEFORE UPDATE ON analytics.export_jobs FOR EACH ROW
    WHEN ((NEW.names OR cardinality(NEW.dimensions) > 0) AND NEW.claim_id IS NOT NULL
          AND NEW.claim_id IS DISTINCT FROM OLD.claim_id AND NEW.claim_reads_all IS DISTINCT FROM NEW.claim_id)
    EXECUTE FUNCTION analytics.refuse_claim();
