DROP TRIGGER keep_last_done ON analytics.maintenance_runs;
DROP FUNCTION analytics.keep_last_done();
ALTER TABLE analytics.maintenance_runs DROP COLUMN last_done_at;
