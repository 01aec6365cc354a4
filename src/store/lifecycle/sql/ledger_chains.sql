-- The chains that the ledger has, found by hopping from one to the next over the index: the rows of one are millions.
WITH RECURSIVE chains (stream, incarnation, partition) AS (
    (SELECT stream, incarnation, partition FROM analytics.ingestion_batches
     WHERE kind NOT IN ('replay', 'repair')
     ORDER BY stream, incarnation, partition LIMIT 1)
    UNION ALL
    SELECT next.* FROM chains CROSS JOIN LATERAL (
        SELECT b.stream, b.incarnation, b.partition FROM analytics.ingestion_batches b
        WHERE b.kind NOT IN ('replay', 'repair')
          AND (b.stream, b.incarnation, b.partition) > (chains.stream, chains.incarnation, chains.partition)
        ORDER BY b.stream, b.incarnation, b.partition LIMIT 1
    ) next
)
SELECT stream, incarnation, partition FROM chains
