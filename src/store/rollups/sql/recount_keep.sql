-- Keeps counted rows until the transaction ends.
-- $1 orgs, $2 buckets, $3 models, $4 successes, $5 errors, $6 timeouts, $7 throttled, $8 and $9 tokens, $10 costs, $11 sums of
-- latencies, $12 smallest, $13 largest, $14 histograms, $15 last events
INSERT INTO pg_temp.recounted_{unit} (org_id, bucket_start, model_id, {measures})
SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                     $8::bigint[], $9::bigint[], $10::numeric[], $11::bigint[], $12::integer[], $13::integer[],
                     $14::bytea[], $15::timestamptz[])
