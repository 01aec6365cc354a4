ALTER TABLE analytics.rollup_pending DROP COLUMN traceparent;
