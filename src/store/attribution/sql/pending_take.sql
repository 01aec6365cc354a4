-- Takes the oldest pending rows of a partition, in the order of their commits.
-- $1 stream, $2 partition, $3 most rows, $4 most bytes: the row that reaches them is the last
DELETE FROM analytics.attribution_pending
-- An array, so that each row is found by its key: joined, all pages of the table would be read, which are full of folded rows.
WHERE batch_id = ANY (ARRAY(
    SELECT batch_id FROM (
        SELECT batch_id, sum(octet_length(partials)) OVER (ORDER BY commit_no) - octet_length(partials) AS before
        FROM (SELECT batch_id, commit_no, partials FROM analytics.attribution_pending WHERE stream = $1 AND partition = $2
              ORDER BY commit_no LIMIT $3 FOR UPDATE) AS oldest) AS sized
    WHERE before < $4))
RETURNING partials
