-- Who is signed in to the console, and links by which somebody signs in once. Builds from before neither read nor write them. Takes
-- milliseconds.
SELECT analytics.works_with_builds_from(20261129000119, this_migration => 20261130000127);

CREATE TABLE analytics.console_sessions (
    session_sha256 bytea PRIMARY KEY CHECK (octet_length(session_sha256) = 32),
    port           text NOT NULL CHECK (port IN ('api', 'operations')),
    subject        text NOT NULL,
    credential     text NOT NULL CHECK (credential IN ('token', 'api_key', 'command_line')),
    key_id         uuid,
    org_ids        uuid[] NOT NULL,
    roles          text[] NOT NULL,
    signed_in_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    used_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at     timestamptz NOT NULL,
    CHECK ((credential = 'api_key') = (key_id IS NOT NULL))
) WITH (fillfactor = 80);
COMMENT ON TABLE analytics.console_sessions IS 'who is signed in to the console';
COMMENT ON COLUMN analytics.console_sessions.session_sha256 IS 'the secret in the cookie is 256 random bits: a slow hash would add nothing';
COMMENT ON COLUMN analytics.console_sessions.credential IS 'what the session stands for: it has no more rights, and ends with it';
COMMENT ON COLUMN analytics.console_sessions.used_at IS 'to a twentieth of the longest time without use';
CREATE INDEX console_sessions_subject ON analytics.console_sessions (subject, port, signed_in_at);
CREATE INDEX console_sessions_expires ON analytics.console_sessions (expires_at);

CREATE TABLE analytics.console_links (
    link_sha256 bytea PRIMARY KEY CHECK (octet_length(link_sha256) = 32),
    port        text NOT NULL CHECK (port IN ('api', 'operations')),
    subject     text NOT NULL,
    org_ids     uuid[] NOT NULL,
    roles       text[] NOT NULL,
    expires_at  timestamptz NOT NULL
);
COMMENT ON TABLE analytics.console_links IS 'links by which somebody signs in to the console, once: the row goes with its use';
CREATE INDEX console_links_expires ON analytics.console_links (expires_at);
