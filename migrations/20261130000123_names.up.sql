-- Names that people give to ids of their organisation, shown beside these. Builds from before neither read nor write them. Takes
-- milliseconds.
SELECT analytics.works_with_builds_from(20261129000119, this_migration => 20261130000123);

CREATE TABLE analytics.names (
    org_id     uuid NOT NULL,
    dimension  text NOT NULL,
    id         text NOT NULL,
    name       text NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by text NOT NULL,
    PRIMARY KEY (org_id, dimension, id)
);
COMMENT ON TABLE analytics.names IS 'what an organisation calls its models, clients, persons, teams and itself';
-- For the erasure of a person.
CREATE INDEX names_of_persons ON analytics.names (id) WHERE dimension = 'actorId';

-- Also where a build erases the organisation that does not know of names.
CREATE FUNCTION analytics.forget_names() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    DELETE FROM analytics.names WHERE org_id = NEW.org_id;
    RETURN NULL;
END $$;
CREATE TRIGGER forget_names AFTER INSERT OR UPDATE ON analytics.erasures
    FOR EACH ROW EXECUTE FUNCTION analytics.forget_names();
