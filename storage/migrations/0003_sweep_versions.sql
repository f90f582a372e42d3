-- A sweep may be replaced by one that spends the same coins for a higher fee (BIP125), or fewer of them when one
-- is gone. All of them are one family, named by the txid of the first. Its coins are claimed in sweep_input, where
-- sweep_txid is the family; sweep_spend says which of them each version spends.
ALTER TABLE sweep ADD COLUMN family TEXT NOT NULL DEFAULT '';
ALTER TABLE sweep ADD COLUMN replaces TEXT;
ALTER TABLE sweep ADD COLUMN is_current INTEGER NOT NULL DEFAULT 1 CHECK (is_current IN (0, 1));
ALTER TABLE sweep ADD COLUMN vsize INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sweep ADD COLUMN stored_height INTEGER NOT NULL DEFAULT 0;
UPDATE sweep SET family = txid;
CREATE UNIQUE INDEX sweep_current ON sweep (family) WHERE is_current = 1;
CREATE UNIQUE INDEX sweep_replaced_once ON sweep (replaces) WHERE replaces IS NOT NULL;
CREATE INDEX sweep_by_family ON sweep (family);
DROP INDEX sweep_open;
CREATE INDEX sweep_open ON sweep (created_at) WHERE is_current = 1 AND state <> 'confirmed';

CREATE TABLE sweep_spend (
    sweep_txid TEXT NOT NULL REFERENCES sweep (txid),
    prev_txid TEXT NOT NULL,
    prev_vout INTEGER NOT NULL,
    PRIMARY KEY (sweep_txid, prev_txid, prev_vout),
    FOREIGN KEY (prev_txid, prev_vout) REFERENCES output (txid, vout)
) STRICT;
CREATE INDEX sweep_spend_by_coin ON sweep_spend (prev_txid, prev_vout);
INSERT INTO sweep_spend (sweep_txid, prev_txid, prev_vout)
SELECT sweep_txid, prev_txid, prev_vout FROM sweep_input;

ALTER TABLE till ADD COLUMN forwarding_paused INTEGER NOT NULL DEFAULT 0 CHECK (forwarding_paused IN (0, 1));

-- What the operator asks of the forwarder, which answers once.
CREATE TABLE forward_order (
    id INTEGER NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('run', 'bump')),
    txid TEXT,
    asked_at INTEGER NOT NULL,
    done_at INTEGER,
    done INTEGER CHECK (done IN (0, 1)),
    answer TEXT
) STRICT;
CREATE INDEX forward_order_open ON forward_order (id) WHERE done_at IS NULL;

-- Coins whose deadline went by before a block took them to the owner: told once for each time.
CREATE TABLE forward_late (
    txid TEXT NOT NULL,
    vout INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (txid, vout),
    FOREIGN KEY (txid, vout) REFERENCES output (txid, vout)
) STRICT;
