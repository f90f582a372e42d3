-- The ledger is append-only: what was written is corrected by a further transfer, never in place.
CREATE TRIGGER transfer_no_update BEFORE UPDATE ON transfer
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER transfer_no_delete BEFORE DELETE ON transfer
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER transfer_line_no_update BEFORE UPDATE ON transfer_line
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER transfer_line_no_delete BEFORE DELETE ON transfer_line
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
