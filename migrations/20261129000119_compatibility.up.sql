-- Each migration from here on says which builds work with it, so that a build that does not know it may start on this schema: a rollback
-- leaves the schema as it is. A build is named by the newest migration that it knows. Takes milliseconds.

CREATE TABLE analytics.schema_compatibility (
    migration    bigint PRIMARY KEY,
    oldest_build bigint NOT NULL CHECK (oldest_build <= migration)
);
COMMENT ON COLUMN analytics.schema_compatibility.oldest_build IS
    'the oldest build that works with the migration, beside it and after it: the newest migration that such a build knows';

ALTER TABLE analytics.processes ADD COLUMN newest_migration bigint;
COMMENT ON COLUMN analytics.processes.newest_migration IS 'the newest that its build knows; null: a build before 20261129000119';

-- Each later migration calls this first. What older processes could not work with is refused while they work.
CREATE FUNCTION analytics.works_with_builds_from(oldest bigint, this_migration bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    older text;
BEGIN
    SELECT string_agg(name, ', ' ORDER BY name) INTO older FROM analytics.processes
    WHERE expires_at > clock_timestamp() AND coalesce(newest_migration, 20261129000118) < oldest;
    IF older IS NOT NULL THEN
        RAISE EXCEPTION 'it works with builds from % on, and older processes are at work: %', oldest, older
            USING HINT = format('replace them by a build that knows %s first, or stop them', oldest);
    END IF;
    INSERT INTO analytics.schema_compatibility (migration, oldest_build) VALUES (this_migration, oldest)
    ON CONFLICT (migration) DO UPDATE SET oldest_build = excluded.oldest_build;
END $$;
REVOKE ALL ON FUNCTION analytics.works_with_builds_from FROM PUBLIC;

-- Processes of the build before work on beside it, and cannot start on it: they know no other schema than theirs.
INSERT INTO analytics.schema_compatibility VALUES (20261129000119, 20261129000118);

CREATE OR REPLACE FUNCTION analytics.grant_to(service_role text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA analytics TO %I', service_role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA analytics TO %I', service_role);
    EXECUTE format('REVOKE ALL ON analytics.audit_events, analytics.rollup_engine, analytics.schema_compatibility FROM %I', service_role);
    EXECUTE format('GRANT SELECT, INSERT ON analytics.audit_events TO %I', service_role);
    EXECUTE format('GRANT SELECT ON analytics.rollup_engine, analytics.schema_compatibility TO %I', service_role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION analytics.purge_raw_chunk, analytics.purge_audit TO %I',
                   service_role);
    EXECUTE format('GRANT SELECT ON public._sqlx_migrations TO %I', service_role);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA analytics TO %I', service_role);
END $$;
