-- Stores a few events: the whole statement leaves in one piece, where the end of a COPY waits for the acknowledgement of its rows.
-- $1 moments, $2 orgs, $3 events, $4 models, $5 latencies, $6 and $7 tokens, $8 statuses, $9 costs, $10 actors, $11 clients,
-- $12 error codes, $13 metadata; $14 the batch
INSERT INTO analytics.usage_events
       (occurred_at, org_id, event_id, model_id, batch_id, latency_ms, input_tokens, output_tokens, status, cost_cents,
        actor_id, client_id, error_code, metadata)
SELECT n.occurred_at, n.org_id, n.event_id, n.model_id, $14, n.latency_ms, n.input_tokens, n.output_tokens,
       n.status::analytics.inference_status, n.cost_cents, n.actor_id, n.client_id, n.error_code, n.metadata::jsonb
FROM unnest($1::timestamptz[], $2::uuid[], $3::uuid[], $4::uuid[], $5::integer[], $6::integer[], $7::integer[], $8::text[],
            $9::numeric[], $10::uuid[], $11::text[], $12::text[], $13::text[])
     AS n (occurred_at, org_id, event_id, model_id, latency_ms, input_tokens, output_tokens, status, cost_cents, actor_id,
           client_id, error_code, metadata)
