-- What was decided is never changed: whoever was refunded has the coins.
CREATE FUNCTION decisions_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'decisions are append-only'; END $$;
CREATE TRIGGER resolution_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON resolution
FOR EACH STATEMENT EXECUTE FUNCTION decisions_are_append_only();
CREATE TRIGGER resolution_output_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON resolution_output
FOR EACH STATEMENT EXECUTE FUNCTION decisions_are_append_only();
