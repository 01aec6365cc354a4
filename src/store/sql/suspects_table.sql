CREATE TEMPORARY TABLE IF NOT EXISTS suspects (
    ordinal       integer PRIMARY KEY,
    occurred_at   timestamptz NOT NULL,
    org_id        uuid NOT NULL,
    event_id      uuid NOT NULL,
    model_id      uuid NOT NULL,
    batch_id      uuid NOT NULL,
    latency_ms    integer NOT NULL,
    input_tokens  integer NOT NULL,
    output_tokens integer NOT NULL,
    status        analytics.inference_status NOT NULL,
    cost_cents    numeric NOT NULL,
    actor_id      uuid,
    client_id     text,
    error_code    text,
    metadata      jsonb
) ON COMMIT DELETE ROWS
