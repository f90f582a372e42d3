-- What the operator decided about coins that give no credits by themselves. Rows are only ever added.
CREATE TABLE resolution (
    id INTEGER NOT NULL PRIMARY KEY,
    payment_number INTEGER NOT NULL REFERENCES payment (number),
    action TEXT NOT NULL CHECK (action IN ('credit', 'ignore', 'refunded')),
    reason TEXT NOT NULL,
    refund_txid TEXT,
    -- the last transfer before it: credits that are taken back later are news that it did not know of
    newest_transfer INTEGER NOT NULL,
    decided_at INTEGER NOT NULL,
    CHECK ((refund_txid IS NOT NULL) = (action = 'refunded'))
) STRICT;
CREATE INDEX resolution_by_payment ON resolution (payment_number);

-- A coin is allowed at most once, and set aside at most once, and that is for good.
CREATE TABLE resolution_output (
    resolution_id INTEGER NOT NULL REFERENCES resolution (id),
    txid TEXT NOT NULL,
    vout INTEGER NOT NULL,
    set_aside INTEGER NOT NULL CHECK (set_aside IN (0, 1)),
    PRIMARY KEY (txid, vout, set_aside),
    FOREIGN KEY (txid, vout) REFERENCES output (txid, vout)
) STRICT;
CREATE INDEX resolution_output_by_resolution ON resolution_output (resolution_id);

-- A decision is about coins, not about the payment for ever. Nothing ever wrote this column.
ALTER TABLE payment DROP COLUMN resolution;

-- Where the list of what needs attention looks, beside the status `failed`.
CREATE INDEX payment_underpaid ON payment (number) WHERE status = 'expired' AND received_sat > 0;
CREATE INDEX payment_held ON payment (number) WHERE late = 'hold' AND flags <> '';
