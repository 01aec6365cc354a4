-- Who may, and who did: API keys, and the audit log.

CREATE TABLE analytics.api_keys (
    key_id        uuid PRIMARY KEY,
    org_id        uuid NOT NULL,
    role          text NOT NULL CHECK (role IN ('org_viewer', 'org_admin', 'finance', 'producer')),
    name          text NOT NULL,
    secret_sha256 bytea NOT NULL CHECK (octet_length(secret_sha256) = 32),
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by    text NOT NULL,
    expires_at    timestamptz,
    revoked_at    timestamptz,
    revoked_by    text,
    last_used_at  timestamptz,
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
COMMENT ON COLUMN analytics.api_keys.secret_sha256 IS 'the secret is 256 random bits: a slow hash would add nothing';
COMMENT ON COLUMN analytics.api_keys.last_used_at IS 'to the minute: written once a minute by each process';
CREATE INDEX api_keys_org ON analytics.api_keys (org_id, key_id);

-- Who did what. Rows are added and read, never changed: see grant_to below.
CREATE TABLE analytics.audit_events (
    event_id    uuid PRIMARY KEY,
    occurred_at timestamptz NOT NULL,
    subject     text,
    credential  text NOT NULL CHECK (credential IN ('none', 'token', 'api_key', 'command_line')),
    roles       text[] NOT NULL,
    action      text NOT NULL,
    org_id      uuid,
    target      text,
    outcome     text NOT NULL CHECK (outcome IN ('allowed', 'denied', 'failed')),
    request_id  text,
    address     text,
    detail      text
);
COMMENT ON COLUMN analytics.audit_events.event_id IS 'version 7: in the order of time';
COMMENT ON COLUMN analytics.audit_events.occurred_at IS 'by the database''s clock, also of what was recorded later';
COMMENT ON COLUMN analytics.audit_events.subject IS 'whom the credential names; null: none was accepted';
CREATE INDEX audit_events_org ON analytics.audit_events (org_id, event_id) WHERE org_id IS NOT NULL;
CREATE INDEX audit_events_subject ON analytics.audit_events (subject, event_id) WHERE subject IS NOT NULL;

-- As before, except that the service may not change what it has recorded.
CREATE OR REPLACE FUNCTION analytics.grant_to(service_role text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA analytics TO %I', service_role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA analytics TO %I', service_role);
    EXECUTE format('REVOKE ALL ON analytics.audit_events FROM %I', service_role);
    EXECUTE format('GRANT SELECT, INSERT ON analytics.audit_events TO %I', service_role);
    EXECUTE format('GRANT SELECT ON public._sqlx_migrations TO %I', service_role);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA analytics TO %I', service_role);
END $$;
