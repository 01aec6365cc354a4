-- Folded rows of the ledger stay: they are the chain of what was there. Continuous aggregates have to be left first
-- (`rollups switch --to live`).
CREATE OR REPLACE FUNCTION analytics.grant_to(service_role text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA analytics TO %I', service_role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA analytics TO %I', service_role);
    EXECUTE format('REVOKE ALL ON analytics.audit_events FROM %I', service_role);
    EXECUTE format('GRANT SELECT, INSERT ON analytics.audit_events TO %I', service_role);
    EXECUTE format('GRANT SELECT ON public._sqlx_migrations TO %I', service_role);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA analytics TO %I', service_role);
END $$;
DROP FUNCTION analytics.purge_raw_chunk, analytics.purge_audit, analytics.uuid_v7;
DROP PROCEDURE analytics.refresh_job, analytics.refresh_continuous;
DROP AGGREGATE analytics.sum_counts(integer[]);
DROP FUNCTION analytics.add_counts, analytics.materialised_to;
DROP VIEW analytics.hourly_usage, analytics.daily_usage;
DROP TABLE analytics.raw_horizons, analytics.rollup_revisions, analytics.org_settings, analytics.erasures,
           analytics.rollup_engine, analytics.rollup_touched, analytics.rollup_before, analytics.maintenance_runs;
DROP INDEX analytics.hourly_rollups_time, analytics.daily_rollups_time;
ALTER TABLE analytics.ingestion_batches DROP COLUMN purged;
DROP INDEX analytics.ingestion_batches_replays;
ALTER TABLE analytics.dead_letters DROP COLUMN taken_by;
ALTER TABLE analytics.replays DROP COLUMN repaired;
