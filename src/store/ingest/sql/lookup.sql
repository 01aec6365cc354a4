-- Finds which of the events at hand are stored already, with their content.
-- $1, $2, $3 org, event and moment of each; $4 the dedupe window; $5, $6 the moments between which a known one can lie:
-- constants for the planner, so that it opens only the chunks that matter.
SELECT k.n, u.occurred_at, u.model_id, u.latency_ms, u.input_tokens, u.output_tokens, u.status::text AS status,
       u.cost_cents, u.actor_id, u.client_id, u.error_code, u.metadata::text AS metadata
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) WITH ORDINALITY AS k (org_id, event_id, occurred_at, n)
-- One index probe an event; a join would leave the planner the choice to read a whole chunk.
CROSS JOIN LATERAL (
    SELECT * FROM analytics.usage_events e
    WHERE e.org_id = k.org_id AND e.event_id = k.event_id
      AND e.occurred_at BETWEEN k.occurred_at - $4 AND k.occurred_at + $4
      AND e.occurred_at BETWEEN $5 AND $6
    -- Of several, the one that it most likely is a resend of.
    ORDER BY e.occurred_at = k.occurred_at DESC, e.occurred_at
    LIMIT 1
) u
