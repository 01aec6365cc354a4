-- Decides about events that may be known already ($1 the dedupe window; $2, $3 the moments between which a known one
-- can lie: constants for the planner, so that it opens only the chunks that matter).
-- Gives each suspect's ordinal and fate: stored, or a duplicate with the same or with other content.
WITH known AS MATERIALIZED (
    -- One index probe a suspect; a join would leave the planner the choice to read a whole chunk.
    SELECT s.ordinal,
           u.occurred_at IS NOT NULL AS known,
           (s.occurred_at, s.model_id, s.latency_ms, s.input_tokens, s.output_tokens, s.status, s.cost_cents,
            s.actor_id, s.client_id, s.error_code, s.metadata)
           IS DISTINCT FROM
           (u.occurred_at, u.model_id, u.latency_ms, u.input_tokens, u.output_tokens, u.status, u.cost_cents,
            u.actor_id, u.client_id, u.error_code, u.metadata) AS differs
    FROM pg_temp.suspects s
    LEFT JOIN LATERAL (
        SELECT * FROM analytics.usage_events u
        WHERE u.org_id = s.org_id AND u.event_id = s.event_id
          AND u.occurred_at BETWEEN s.occurred_at - $1 AND s.occurred_at + $1
          AND u.occurred_at BETWEEN $2 AND $3
        LIMIT 1
    ) u ON true
),
stored AS (
    INSERT INTO analytics.usage_events
           (occurred_at, org_id, event_id, model_id, batch_id, latency_ms, input_tokens, output_tokens, status,
            cost_cents, actor_id, client_id, error_code, metadata)
    SELECT s.occurred_at, s.org_id, s.event_id, s.model_id, s.batch_id, s.latency_ms, s.input_tokens, s.output_tokens,
           s.status, s.cost_cents, s.actor_id, s.client_id, s.error_code, s.metadata
    FROM pg_temp.suspects s JOIN known k USING (ordinal)
    WHERE NOT k.known
    ON CONFLICT DO NOTHING
    RETURNING org_id, event_id, occurred_at
)
SELECT k.ordinal, w.event_id IS NOT NULL AS stored, k.known AND k.differs AS conflict
FROM known k
JOIN pg_temp.suspects s USING (ordinal)
LEFT JOIN stored w ON w.org_id = s.org_id AND w.event_id = s.event_id AND w.occurred_at = s.occurred_at
