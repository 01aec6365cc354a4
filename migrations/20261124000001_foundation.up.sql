-- The schema of the service: raw events, the ledger, progress, rollups and freshness.
-- Runs as the owner; what the service's own role may do is granted by analytics.grant_to at the end.

CREATE EXTENSION IF NOT EXISTS timescaledb;
CREATE SCHEMA analytics;

CREATE TYPE analytics.inference_status AS ENUM ('success', 'error', 'timeout', 'throttled');
CREATE TYPE analytics.batch_kind AS ENUM ('live', 'replay', 'repair');

-- Raw events. Columns run from fixed width to variable width, which keeps a row free of padding.
CREATE TABLE analytics.usage_events (
    occurred_at   timestamptz NOT NULL,
    org_id        uuid NOT NULL,
    event_id      uuid NOT NULL,
    model_id      uuid NOT NULL,
    batch_id      uuid NOT NULL,
    latency_ms    integer NOT NULL,
    input_tokens  integer NOT NULL,
    output_tokens integer NOT NULL,
    status        analytics.inference_status NOT NULL,
    cost_cents    numeric(15, 4) NOT NULL,
    actor_id      uuid,
    client_id     text,
    error_code    text,
    metadata      jsonb
);
COMMENT ON COLUMN analytics.usage_events.occurred_at IS 'when the inference completed, microseconds';
COMMENT ON COLUMN analytics.usage_events.batch_id IS 'the ledger row (ingestion_batches) that counted this event';

SELECT create_hypertable('analytics.usage_events', by_range('occurred_at', INTERVAL '1 day'), create_default_indexes => false);

-- Exactly once rests on this index. The org comes first: an org's keys lie together, also for erasing a tenant.
CREATE UNIQUE INDEX usage_events_identity ON analytics.usage_events (org_id, event_id, occurred_at);
-- Ranges of time (loading the dedupe window, rebuilding) at next to no cost for inserts: rows arrive nearly in order.
CREATE INDEX usage_events_time ON analytics.usage_events USING brin (occurred_at) WITH (pages_per_range = 32);
-- Later drill-downs by person; empty, hence free, where producers send no actor.
CREATE INDEX usage_events_actor ON analytics.usage_events (org_id, actor_id, occurred_at) WHERE actor_id IS NOT NULL;

-- The ledger: what became of every message, by range of stream offsets.
CREATE TABLE analytics.ingestion_batches (
    batch_id      uuid PRIMARY KEY,
    stream        text NOT NULL,
    incarnation   integer NOT NULL,
    partition     integer NOT NULL,
    kind          analytics.batch_kind NOT NULL,
    first_offset  bigint NOT NULL,
    next_offset   bigint NOT NULL,
    received      bigint NOT NULL,
    stored        bigint NOT NULL,
    duplicates    bigint NOT NULL,
    conflicts     bigint NOT NULL,
    rejected      bigint NOT NULL,
    late          bigint NOT NULL,
    orgs          integer NOT NULL,
    occurred_from timestamptz,
    occurred_to   timestamptz,
    retries       integer NOT NULL,
    started_at    timestamptz NOT NULL,
    completed_at  timestamptz NOT NULL,
    CHECK (received = stored + duplicates + rejected),
    CHECK (conflicts <= duplicates),
    CHECK (late <= stored),
    CHECK (first_offset < next_offset)
);
COMMENT ON TABLE analytics.ingestion_batches IS 'live rows of one (stream, incarnation, partition) form a chain: each starts where the last ended';
COMMENT ON COLUMN analytics.ingestion_batches.conflicts IS 'those of the duplicates whose content differs from what was stored first';
COMMENT ON COLUMN analytics.ingestion_batches.late IS 'those of the stored that occurred longer before their publishing than the late threshold';
CREATE UNIQUE INDEX ingestion_batches_chain ON analytics.ingestion_batches (stream, incarnation, partition, first_offset) WHERE kind = 'live';
CREATE INDEX ingestion_batches_completed ON analytics.ingestion_batches (completed_at);

CREATE TABLE analytics.ledger_hourly (
    org_id     uuid,
    hour       timestamptz NOT NULL,
    received   bigint NOT NULL,
    stored     bigint NOT NULL,
    duplicates bigint NOT NULL,
    conflicts  bigint NOT NULL,
    rejected   bigint NOT NULL,
    late       bigint NOT NULL,
    CONSTRAINT ledger_hourly_key UNIQUE NULLS NOT DISTINCT (org_id, hour),
    CHECK (received = stored + duplicates + rejected)
);
COMMENT ON COLUMN analytics.ledger_hourly.org_id IS 'null: messages whose org cannot be read';
COMMENT ON COLUMN analytics.ledger_hourly.hour IS 'UTC hour of the commit';

-- Progress. A batch transaction locks its row first; epoch fences a process that lost the partition.
CREATE TABLE analytics.partition_offsets (
    stream            text NOT NULL,
    partition         integer NOT NULL,
    incarnation       integer NOT NULL DEFAULT 1,
    next_offset       bigint NOT NULL DEFAULT 0,
    last_message_hash bytea,
    owner             text,
    epoch             bigint NOT NULL DEFAULT 0,
    foreign_writes    bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (stream, partition)
);
COMMENT ON COLUMN analytics.partition_offsets.foreign_writes IS
    'batches of other partitions that stored events of this partition''s orgs: a dedupe window loaded before the last one is incomplete';

-- Up to which publish time a partition's events are in the rollups. Apart from partition_offsets, so that merging
-- rollups and committing batches do not wait for each other.
CREATE TABLE analytics.partition_watermarks (
    stream    text NOT NULL,
    partition integer NOT NULL,
    watermark timestamptz NOT NULL,
    PRIMARY KEY (stream, partition)
);

-- Aggregates of committed batches that are not merged yet: one row a batch, empty when caught up.
CREATE TABLE analytics.rollup_pending (
    batch_id     uuid PRIMARY KEY,
    stream       text NOT NULL,
    partition    integer NOT NULL,
    next_offset  bigint NOT NULL,
    committed_at timestamptz NOT NULL,
    aggregates   bytea NOT NULL
);
-- Packed numbers that live for a fraction of a second: compressing them costs more than it saves.
ALTER TABLE analytics.rollup_pending ALTER COLUMN aggregates SET STORAGE EXTERNAL;

CREATE TABLE analytics.dead_letters (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream         text NOT NULL,
    incarnation    integer NOT NULL,
    partition      integer NOT NULL,
    stream_offset  bigint NOT NULL,
    batch_id       uuid NOT NULL,
    org_id         uuid,
    reasons        text[] NOT NULL,
    payload        bytea NOT NULL,
    payload_bytes  bigint NOT NULL,
    payload_sha256 bytea NOT NULL,
    rejected_at    timestamptz NOT NULL,
    UNIQUE (stream, incarnation, partition, stream_offset)
);
COMMENT ON COLUMN analytics.dead_letters.payload IS 'the first 64 KiB; payload_bytes and payload_sha256 are of the whole message';
COMMENT ON COLUMN analytics.dead_letters.org_id IS 'only where the JSON is valid and has exactly one orgId';
CREATE INDEX dead_letters_org ON analytics.dead_letters (org_id, rejected_at);

-- Rollups. Room is left on the pages so that an update stays on its page and touches no index.
CREATE TABLE analytics.hourly_rollups (
    org_id        uuid NOT NULL,
    bucket_start  timestamptz NOT NULL,
    model_id      uuid NOT NULL,
    successes     bigint NOT NULL,
    errors        bigint NOT NULL,
    timeouts      bigint NOT NULL,
    throttled     bigint NOT NULL,
    input_tokens  bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cost_cents    numeric NOT NULL,
    latency_sum   bigint NOT NULL,
    latency_min   integer NOT NULL,
    latency_max   integer NOT NULL,
    latency_histogram bytea NOT NULL,
    last_event_at timestamptz NOT NULL,
    fresh_as_of   timestamptz NOT NULL,
    PRIMARY KEY (org_id, bucket_start, model_id)
) WITH (fillfactor = 70);
COMMENT ON COLUMN analytics.hourly_rollups.latency_histogram IS 'packed pairs of bucket and count, see docs/architecture.md';
COMMENT ON COLUMN analytics.hourly_rollups.fresh_as_of IS 'when this row was merged last';
CREATE TABLE analytics.daily_rollups (LIKE analytics.hourly_rollups INCLUDING ALL) WITH (fillfactor = 70);

CREATE TABLE analytics.freshness_status (
    org_id         uuid NOT NULL,
    model_id       uuid NOT NULL,
    last_event_at  timestamptz NOT NULL,
    last_rollup_at timestamptz NOT NULL,
    lag_seconds    double precision NOT NULL,
    status         text NOT NULL CHECK (status IN ('fresh', 'stale', 'delayed')),
    PRIMARY KEY (org_id, model_id)
) WITH (fillfactor = 70);

-- What the service's role may do: read and write data, never change the schema.
CREATE FUNCTION analytics.grant_to(service_role text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA analytics TO %I', service_role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA analytics TO %I', service_role);
    EXECUTE format('GRANT SELECT ON public._sqlx_migrations TO %I', service_role);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA analytics TO %I', service_role);
END $$;
REVOKE ALL ON FUNCTION analytics.grant_to FROM PUBLIC;
