-- Finds what is stored of the events at hand: an org's all at once, by one descent of each day's index where they lie together.
-- $1 orgs, each once; $2 events, in the order of the orgs and of the index; $3, $4 the first and the last of each org's, from 1;
-- $5, $6 the moments between which a known one can lie: constants for the planner, so that it opens only the chunks that matter.
SELECT u.org_id, u.event_id, u.occurred_at, u.model_id, u.latency_ms, u.input_tokens, u.output_tokens,
       u.status::text AS status, u.cost_cents, u.actor_id, u.client_id, u.error_code, u.metadata::text AS metadata
FROM unnest($1::uuid[], $3::integer[], $4::integer[]) AS o (org_id, first, last)
-- An index scan for each org; a join would leave the planner the choice to read a whole chunk.
CROSS JOIN LATERAL (
    SELECT * FROM analytics.usage_events e
    WHERE e.org_id = o.org_id AND e.event_id = ANY (($2::uuid[])[o.first:o.last]) AND e.occurred_at BETWEEN $5 AND $6
    OFFSET 0
) u
