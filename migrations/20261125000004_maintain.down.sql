DROP FUNCTION analytics.make_raw_chunk;
