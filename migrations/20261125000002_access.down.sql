-- The audit log goes with it: copy it first where it must be kept.
DROP TABLE analytics.audit_events, analytics.api_keys;
CREATE OR REPLACE FUNCTION analytics.grant_to(service_role text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA analytics TO %I', service_role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA analytics TO %I', service_role);
    EXECUTE format('GRANT SELECT ON public._sqlx_migrations TO %I', service_role);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA analytics TO %I', service_role);
END $$;
