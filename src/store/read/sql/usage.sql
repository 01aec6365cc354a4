-- Usage of an org by bucket, with what says how complete it is. One statement, hence one snapshot: the series, the
-- freshness and the watermark cannot disagree. What the buckets are summed from is put in by the code.
-- $1 org, $2 start, $3 end, $4 models (empty: all), $5 by model, $6 stream, $7 the org's partition, $8 most rows; from
-- $9 on as in rows_split.sql
WITH head AS (
    {head}
),
series AS (
    -- Grouped by a constant where models are not distinguished. The sum as it is: one that no amount can hold is an error when it
    -- is read, not a rounded amount.
    SELECT bucket_start,
           CASE WHEN $5 THEN model_id END AS model_id,
           sum(successes + errors + timeouts + throttled)::bigint AS invocations,
           sum(input_tokens)::bigint AS input_tokens,
           sum(output_tokens)::bigint AS output_tokens,
           sum(cost_cents) AS cost_cents
    FROM ({rows}) AS rows
    GROUP BY 1, 2
    ORDER BY 1, 2
    LIMIT $8
)
-- The head comes once even where the series is empty.
SELECT head.*, series.*
FROM head LEFT JOIN series ON true
ORDER BY bucket_start, model_id
