CREATE OR REPLACE FUNCTION analytics.grant_to(service_role text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA analytics TO %I', service_role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA analytics TO %I', service_role);
    EXECUTE format('REVOKE ALL ON analytics.audit_events, analytics.rollup_engine FROM %I', service_role);
    EXECUTE format('GRANT SELECT, INSERT ON analytics.audit_events TO %I', service_role);
    EXECUTE format('GRANT SELECT ON analytics.rollup_engine TO %I', service_role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION analytics.purge_raw_chunk, analytics.purge_audit TO %I',
                   service_role);
    EXECUTE format('GRANT SELECT ON public._sqlx_migrations TO %I', service_role);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA analytics TO %I', service_role);
END $$;

DROP FUNCTION analytics.works_with_builds_from(bigint, bigint);
ALTER TABLE analytics.processes DROP COLUMN newest_migration;
DROP TABLE analytics.schema_compatibility;
