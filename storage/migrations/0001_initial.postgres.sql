-- The ledger is append-only: what was written is corrected by a further transfer, never in place.
CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$;
CREATE TRIGGER transfer_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON transfer
FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
CREATE TRIGGER transfer_line_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON transfer_line
FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
-- A look at the node is wanted: whoever watches may hear of it at once (storage/looks.py).
CREATE FUNCTION look_is_wanted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('look_wanted', ''); RETURN NULL; END $$;
CREATE TRIGGER till_look_wanted AFTER UPDATE OF look_wanted ON till
FOR EACH ROW EXECUTE FUNCTION look_is_wanted();
