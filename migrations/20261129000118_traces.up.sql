-- A merge links to the spans of the batches that it folds, also to those of a process that is gone. At once, whatever is pending.
ALTER TABLE analytics.rollup_pending ADD COLUMN traceparent text CHECK (length(traceparent) = 55);
COMMENT ON COLUMN analytics.rollup_pending.traceparent IS 'the span that stored the batch (W3C trace context), where it is recorded';
