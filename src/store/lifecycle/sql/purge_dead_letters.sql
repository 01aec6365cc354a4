-- Deletes a piece of the old dead letters, but for those whose correction still has to be published. Returns how many.
-- $1 the moment, $2 the first id that is certainly younger, $3 most rows
WITH old AS (
    SELECT dead_letter_id FROM analytics.dead_letters
    -- Ids are in the order of time: no look at all that is younger.
    WHERE dead_letter_id < $2 AND rejected_at < $1 AND (correction IS NULL OR replayed_at IS NOT NULL)
    ORDER BY dead_letter_id LIMIT $3
    -- One that is being corrected or published is left for the next time.
    FOR UPDATE SKIP LOCKED
),
gone AS (
    DELETE FROM analytics.dead_letters WHERE dead_letter_id IN (SELECT dead_letter_id FROM old) RETURNING 1
)
SELECT count(*) FROM gone
