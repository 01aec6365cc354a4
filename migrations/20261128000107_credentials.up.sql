-- Lineage of API keys, counted audit events, and buckets of organisations. Only adds: a build of before works on beside it.

ALTER TABLE analytics.api_keys
    ADD COLUMN parent_id uuid,
    ADD COLUMN idempotency_key text,
    ADD COLUMN request_sha256 bytea CHECK (octet_length(request_sha256) = 32),
    ADD CHECK ((idempotency_key IS NULL) = (request_sha256 IS NULL));
COMMENT ON COLUMN analytics.api_keys.parent_id IS 'the key that it was made with; null: a token or the command line';
CREATE INDEX api_keys_parent ON analytics.api_keys (parent_id) WHERE parent_id IS NOT NULL;
CREATE UNIQUE INDEX api_keys_request ON analytics.api_keys (org_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- Many of a kind in one row. Rows are still only added: they are counted before they are recorded.
ALTER TABLE analytics.audit_events
    ADD COLUMN event_count bigint NOT NULL DEFAULT 1 CHECK (event_count > 0),
    ADD COLUMN first_at timestamptz;
COMMENT ON COLUMN analytics.audit_events.event_count IS 'so many of the same, the last at occurred_at';
COMMENT ON COLUMN analytics.audit_events.first_at IS 'when the first of them was; null: there is one';

-- Buckets that exports of an org may be delivered to, beside the one of the settings. A bucket is one org's.
CREATE TABLE analytics.org_buckets (
    bucket     text PRIMARY KEY,
    org_id     uuid NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_by text NOT NULL
);
CREATE INDEX org_buckets_org ON analytics.org_buckets (org_id);
