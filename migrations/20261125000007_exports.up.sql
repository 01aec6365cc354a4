-- Exports: what is asked for, who works on it, and what came out. Only adds: a build of before works on beside it.

CREATE TABLE analytics.export_jobs (
    job_id           uuid PRIMARY KEY,
    org_id           uuid NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('demand', 'monthly')),
    status           text NOT NULL DEFAULT 'pending'
                     CHECK (status IN ('pending', 'running', 'succeeded', 'failed', 'expired')),
    granularity      text NOT NULL CHECK (granularity IN ('hourly', 'daily', 'monthly')),
    group_by         text NOT NULL CHECK (group_by IN ('model', 'client', 'errorCode')),
    range_start      timestamptz NOT NULL,
    range_end        timestamptz NOT NULL,
    models           uuid[] NOT NULL,
    month            date,
    -- Who asked, and by what it is known to be the same request.
    initiated_by     text NOT NULL,
    idempotency_key  text,
    request_sha256   bytea NOT NULL CHECK (octet_length(request_sha256) = 32),
    -- Who works on it.
    attempts         integer NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    claim_id         uuid,
    claimed_by       uuid,
    claimed_name     text,
    heartbeat_at     timestamptz,
    cancel_requested boolean NOT NULL DEFAULT false,
    upload_id        text,
    upload_key       text,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at       timestamptz,
    completed_at     timestamptz,
    expires_at       timestamptz,
    error            text,
    -- What came out.
    bucket           text,
    object_key       text,
    revision         integer CHECK (revision > 0),
    checksum         bytea CHECK (octet_length(checksum) = 32),
    row_count        bigint,
    bytes            bigint,
    invocations      bigint,
    errors           bigint,
    input_tokens     bigint,
    output_tokens    bigint,
    cost_cents       numeric,
    as_of            timestamptz,
    snapshot_at      timestamptz,
    revisions        bigint,
    last_revision_id uuid,
    CHECK (range_start < range_end),
    CHECK ((upload_id IS NULL) = (upload_key IS NULL)),
    CHECK ((kind = 'monthly') = (month IS NOT NULL)),
    CHECK ((status = 'running') = (claim_id IS NOT NULL)),
    CHECK ((status IN ('pending', 'running')) = (completed_at IS NULL)),
    CHECK (status <> 'failed' OR error IS NOT NULL),
    CHECK (status NOT IN ('succeeded', 'expired') OR num_nulls(
        object_key, checksum, row_count, bytes, invocations, errors, input_tokens, output_tokens, cost_cents, snapshot_at,
        revisions, expires_at) = 0),
    CHECK (kind <> 'monthly' OR status NOT IN ('succeeded', 'expired') OR revision IS NOT NULL)
);
COMMENT ON COLUMN analytics.export_jobs.job_id IS 'version 7: in the order of time';
COMMENT ON COLUMN analytics.export_jobs.models IS 'empty: all';
COMMENT ON COLUMN analytics.export_jobs.month IS 'its first day';
COMMENT ON COLUMN analytics.export_jobs.attempts IS 'how often it was claimed, but for claims that were given back';
COMMENT ON COLUMN analytics.export_jobs.claim_id IS
    'another one with each claim: whoever held an earlier one cannot end a job that was taken over, not even in the same process';
COMMENT ON COLUMN analytics.export_jobs.claimed_name IS 'host/pid, for operators';
COMMENT ON COLUMN analytics.export_jobs.upload_id IS 'an upload to the object store that was begun, and not known to have ended';
COMMENT ON COLUMN analytics.export_jobs.started_at IS 'when it was claimed last';
COMMENT ON COLUMN analytics.export_jobs.error IS 'of the last attempt, while there are more';
COMMENT ON COLUMN analytics.export_jobs.bucket IS 'null: the one of the settings';
COMMENT ON COLUMN analytics.export_jobs.revision IS 'of a month''s versions; one that came out the same has that of the version before';
COMMENT ON COLUMN analytics.export_jobs.as_of IS 'the moment up to which it is complete';
COMMENT ON COLUMN analytics.export_jobs.snapshot_at IS 'when its rows were read';
COMMENT ON COLUMN analytics.export_jobs.revisions IS 'of buckets of its range that its rows have in them';

-- An org's jobs, newest first; those that are open, to count and to claim; when it was its turn last.
CREATE INDEX export_jobs_org ON analytics.export_jobs (org_id, job_id);
CREATE INDEX export_jobs_open ON analytics.export_jobs (org_id, next_attempt_at) WHERE status IN ('pending', 'running');
CREATE INDEX export_jobs_pending ON analytics.export_jobs (next_attempt_at) WHERE status = 'pending';
CREATE INDEX export_jobs_started ON analytics.export_jobs (org_id, started_at) WHERE started_at IS NOT NULL;
CREATE INDEX export_jobs_expiry ON analytics.export_jobs (expires_at) WHERE status = 'succeeded';
CREATE INDEX export_jobs_uploads ON analytics.export_jobs (job_id) WHERE upload_id IS NOT NULL;
CREATE INDEX export_jobs_month ON analytics.export_jobs (org_id, month, revision) WHERE month IS NOT NULL;
CREATE UNIQUE INDEX export_jobs_request ON analytics.export_jobs (org_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- Two that made the same month at once would both take the next number.
CREATE UNIQUE INDEX export_jobs_month_open ON analytics.export_jobs (org_id, month)
    WHERE month IS NOT NULL AND status IN ('pending', 'running');
