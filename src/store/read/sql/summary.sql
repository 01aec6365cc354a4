-- Every org's totals over days of UTC, a page of them, and the sum over all orgs, with the watermark up to which all
-- partitions are complete.
-- $1 start, $2 end, $3 orgs after this one (null: from the first), $4 most rows, $5 streams
WITH RECURSIVE known (org_id) AS (
    -- Orgs of which anything was received, from one to the next by the key that begins with them: reading all rows of all
    -- time would take seconds. The ledger's hours are kept by every engine.
    (SELECT org_id FROM analytics.ledger_hourly WHERE org_id IS NOT NULL ORDER BY org_id LIMIT 1)
    UNION ALL
    SELECT following.org_id
    FROM known, LATERAL (
        SELECT l.org_id FROM analytics.ledger_hourly AS l WHERE l.org_id > known.org_id ORDER BY l.org_id LIMIT 1
    ) AS following
),
everyone AS (
    SELECT org_id FROM known
    UNION
    -- Their hours of the ledger may all be purged while rollups are kept for longer.
    SELECT org_id FROM analytics.retention_floors WHERE kind = 'ledger'
),
orgs AS (
    SELECT org_id,
           sum(successes + errors + timeouts + throttled)::bigint AS invocations,
           sum(input_tokens)::bigint AS input_tokens,
           sum(output_tokens)::bigint AS output_tokens,
           sum(cost_cents) AS cost_cents
    FROM everyone JOIN analytics.daily_usage USING (org_id)
    WHERE bucket_start >= $1 AND bucket_start < $2
      -- What came of an erased org afterwards, of days from before, is not all that there was.
      AND NOT EXISTS (
          SELECT FROM analytics.erasures e
          WHERE e.org_id = everyone.org_id AND coalesce(e.floor_at, e.erased_at) > bucket_start)
    GROUP BY org_id
),
totals AS (
    SELECT count(*) AS orgs,
           coalesce(sum(invocations), 0)::bigint AS all_invocations,
           coalesce(sum(input_tokens), 0)::bigint AS all_input_tokens,
           coalesce(sum(output_tokens), 0)::bigint AS all_output_tokens,
           coalesce(sum(cost_cents), 0) AS all_cost_cents
    FROM orgs
),
page AS (
    SELECT * FROM orgs WHERE $3::uuid IS NULL OR org_id > $3 ORDER BY org_id LIMIT $4
)
-- One partition that was never read, or whose watermark lies ahead of the clock, makes the whole unknown. The totals come
-- once even where no org has any.
SELECT now() AS queried_at,
       (SELECT CASE WHEN count(watermark) = cardinality($5::text[]) THEN min(watermark) END
        FROM analytics.known_watermarks WHERE stream = ANY ($5)) AS watermark,
       (SELECT max(floor_at) FROM analytics.retention_floors WHERE kind = 'daily') AS rollups_from,
       totals.*, page.*
FROM totals LEFT JOIN page ON true
ORDER BY org_id
