-- Every org's totals over days of UTC, a page of them in an order, the sum over all orgs and over those behind the page, with the
-- watermark up to which all partitions are complete.
-- $1 start, $2 end, $3 order, $4 and $5 amount and id of the org that the page begins behind (null: from the first), $6 most rows,
-- $7 streams
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
ranked AS (
    -- Places are counted from 1: those of the page are known by it, and so is what lies behind them.
    SELECT *, row_number() OVER (ORDER BY amount DESC, org_id) AS place
    FROM (
        SELECT *,
               CASE $3::text WHEN 'cost' THEN cost_cents WHEN 'invocations' THEN invocations
                       WHEN 'inputTokens' THEN input_tokens WHEN 'outputTokens' THEN output_tokens ELSE 0 END AS amount
        FROM orgs
    ) AS amounts
),
page AS (
    SELECT * FROM ranked
    WHERE $5::uuid IS NULL OR amount < $4::numeric OR amount = $4 AND org_id > $5
    ORDER BY place
    LIMIT $6
),
sums AS (
    SELECT count(*) AS all_orgs,
           coalesce(sum(invocations), 0)::bigint AS all_invocations,
           coalesce(sum(input_tokens), 0)::bigint AS all_input_tokens,
           coalesce(sum(output_tokens), 0)::bigint AS all_output_tokens,
           coalesce(sum(cost_cents), 0) AS all_cost_cents,
           count(*) FILTER (WHERE place > last) AS other_orgs,
           coalesce(sum(invocations) FILTER (WHERE place > last), 0)::bigint AS other_invocations,
           coalesce(sum(input_tokens) FILTER (WHERE place > last), 0)::bigint AS other_input_tokens,
           coalesce(sum(output_tokens) FILTER (WHERE place > last), 0)::bigint AS other_output_tokens,
           coalesce(sum(cost_cents) FILTER (WHERE place > last), 0) AS other_cost_cents
    FROM ranked CROSS JOIN (SELECT max(place) AS last FROM page) AS page
)
-- One partition that was never read, or whose watermark lies ahead of the clock, makes the whole unknown. The sums come
-- once even where no org has any.
SELECT now() AS queried_at,
       (SELECT CASE WHEN count(watermark) = cardinality($7::text[]) THEN min(watermark) END
        FROM analytics.known_watermarks WHERE stream = ANY ($7)) AS watermark,
       (SELECT max(floor_at) FROM analytics.retention_floors WHERE kind = 'daily') AS rollups_from,
       sums.*, page.*, names.name
FROM sums
     LEFT JOIN page ON true
     LEFT JOIN analytics.names ON names.org_id = page.org_id AND dimension = 'orgId' AND id = page.org_id::text
ORDER BY place
