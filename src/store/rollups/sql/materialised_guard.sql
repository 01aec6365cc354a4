-- See refuse_before_cut() in the migrations. {table}: where a continuous aggregate keeps what it has materialised.
CREATE OR REPLACE TRIGGER refuse_before_cut BEFORE INSERT OR UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION analytics.refuse_before_cut('{unit}')
