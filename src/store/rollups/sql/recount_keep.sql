-- Keeps counted rows until the transaction ends.
INSERT INTO pg_temp.recounted_{unit} (org_id, bucket_start, model_id, {measures})
SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                     $8::bigint[], $9::bigint[], $10::numeric[], $11::bigint[], $12::integer[], $13::integer[],
                     $14::bytea[], $15::timestamptz[])
