-- What rollups have of an org. {bucket}, the bucket that a row belongs to, and {left_out} are put in by the code.
-- $1 org, $2 start, $3 end, $4 models (empty: all), $9 starts of the days, where {bucket} is a day of a zone,
-- $10 hours that are left out
    SELECT {bucket} AS bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens,
           cost_cents, latency_histogram, NULL::integer AS latency_bucket
    FROM {rollups}
    WHERE org_id = $1 AND bucket_start >= $2 AND bucket_start < $3
      AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4)) {left_out}
