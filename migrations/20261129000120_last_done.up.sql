-- When a maintenance task was last done outlives a later run that fails or does not end. By a trigger, so that it holds for the runs of
-- builds that do not know it, too. Takes milliseconds.
SELECT analytics.works_with_builds_from(20261129000119, this_migration => 20261129000120);

ALTER TABLE analytics.maintenance_runs ADD COLUMN last_done_at timestamptz;
COMMENT ON COLUMN analytics.maintenance_runs.last_done_at IS 'when the last run began that was done; finished_at and outcome are of the last run';
UPDATE analytics.maintenance_runs SET last_done_at = started_at WHERE outcome = 'done';

CREATE FUNCTION analytics.keep_last_done() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.outcome = 'done' THEN
        NEW.last_done_at := NEW.started_at;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_last_done BEFORE INSERT OR UPDATE ON analytics.maintenance_runs
    FOR EACH ROW EXECUTE FUNCTION analytics.keep_last_done();
