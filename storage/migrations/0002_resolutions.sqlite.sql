-- What was decided is never changed: whoever was refunded has the coins.
CREATE TRIGGER resolution_no_update BEFORE UPDATE ON resolution
BEGIN SELECT RAISE(ABORT, 'decisions are append-only'); END;
CREATE TRIGGER resolution_no_delete BEFORE DELETE ON resolution
BEGIN SELECT RAISE(ABORT, 'decisions are append-only'); END;
CREATE TRIGGER resolution_output_no_update BEFORE UPDATE ON resolution_output
BEGIN SELECT RAISE(ABORT, 'decisions are append-only'); END;
CREATE TRIGGER resolution_output_no_delete BEFORE DELETE ON resolution_output
BEGIN SELECT RAISE(ABORT, 'decisions are append-only'); END;
