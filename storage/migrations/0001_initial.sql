-- One dialect: SQLite's. For PostgreSQL storage/migrate.py widens INTEGER to BIGINT, BLOB to BYTEA
-- and drops STRICT. Times are milliseconds since the epoch (UTC), amounts satoshi or whole credits.

CREATE TABLE till (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    network TEXT NOT NULL,
    birth_height INTEGER,
    cursor_height INTEGER,
    cursor_hash TEXT,
    complete_at INTEGER NOT NULL DEFAULT 0,
    health TEXT NOT NULL DEFAULT '{}',
    health_at INTEGER NOT NULL DEFAULT 0,
    -- looks at the node: asked for by other processes, done by the watcher, failed for want of a node
    look_wanted INTEGER NOT NULL DEFAULT 0,
    look_done INTEGER NOT NULL DEFAULT 0,
    look_failed INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE keychain (
    id INTEGER NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    descriptor TEXT NOT NULL,
    watch_only INTEGER NOT NULL CHECK (watch_only IN (0, 1)),
    next_index INTEGER NOT NULL DEFAULT 0 CHECK (next_index >= 0),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE payment (
    number INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    package_id TEXT NOT NULL,
    metadata TEXT NOT NULL,
    keychain_id INTEGER NOT NULL REFERENCES keychain (id),
    address_index INTEGER NOT NULL,
    address TEXT NOT NULL UNIQUE,
    script_pubkey BLOB NOT NULL UNIQUE,
    watch_only INTEGER NOT NULL CHECK (watch_only IN (0, 1)),
    -- the promise, fixed at creation
    amount_sat INTEGER NOT NULL CHECK (amount_sat BETWEEN 1 AND 2100000000000000),
    credits INTEGER NOT NULL CHECK (credits > 0),
    confirmations_required INTEGER NOT NULL CHECK (confirmations_required >= 1),
    tolerance_sat INTEGER NOT NULL CHECK (tolerance_sat >= 0),
    late TEXT NOT NULL,
    excess TEXT NOT NULL,
    tiers TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    -- facts that are not outputs
    window_closed INTEGER NOT NULL DEFAULT 0 CHECK (window_closed IN (0, 1)),
    resolution TEXT,
    credits_posted INTEGER NOT NULL DEFAULT 0 CHECK (credits_posted >= 0),
    ever_credited INTEGER NOT NULL DEFAULT 0 CHECK (ever_credited IN (0, 1)),
    -- derived by payments.status.state_of, kept for lists and for the next difference
    status TEXT NOT NULL,
    flags TEXT NOT NULL DEFAULT '',
    received_sat INTEGER NOT NULL DEFAULT 0,
    confirmed_sat INTEGER NOT NULL DEFAULT 0,
    remaining_sat INTEGER NOT NULL,
    told_depth INTEGER NOT NULL DEFAULT 0,
    tx_hash TEXT,
    detected_at INTEGER,
    confirmed_at INTEGER,
    completed_at INTEGER,
    failure_reason TEXT,
    wake_height INTEGER,
    booking_due INTEGER NOT NULL DEFAULT 0 CHECK (booking_due IN (0, 1)),
    unsettled INTEGER NOT NULL DEFAULT 0 CHECK (unsettled IN (0, 1)),
    sequence INTEGER NOT NULL DEFAULT 0,
    UNIQUE (keychain_id, address_index)
) STRICT;
CREATE INDEX payment_by_user ON payment (user_id, number);
-- Both columns, or SQLite prefers the status alone and walks every open payment at each creation.
CREATE INDEX payment_open ON payment (user_id, status);
CREATE INDEX payment_by_status ON payment (status, number);
CREATE INDEX payment_window ON payment (expires_at) WHERE window_closed = 0;
CREATE INDEX payment_wake ON payment (wake_height) WHERE wake_height IS NOT NULL;
CREATE INDEX payment_booking ON payment (number) WHERE booking_due = 1;
CREATE INDEX payment_unsettled ON payment (number) WHERE unsettled = 1;

-- Blocks that were connected. Disconnecting flips `active` of one row; links stay for ever.
CREATE TABLE block (
    hash TEXT NOT NULL PRIMARY KEY,
    height INTEGER NOT NULL,
    prev_hash TEXT NOT NULL,
    time INTEGER NOT NULL,
    active INTEGER NOT NULL CHECK (active IN (0, 1))
) STRICT;
CREATE UNIQUE INDEX block_active ON block (height) WHERE active = 1;

CREATE TABLE block_tx (
    block_hash TEXT NOT NULL REFERENCES block (hash),
    txid TEXT NOT NULL,
    PRIMARY KEY (txid, block_hash)
) STRICT;
CREATE INDEX block_tx_by_block ON block_tx (block_hash);

CREATE TABLE incoming_tx (
    txid TEXT NOT NULL PRIMARY KEY,
    coinbase INTEGER NOT NULL CHECK (coinbase IN (0, 1)),
    first_seen INTEGER NOT NULL,
    in_mempool INTEGER NOT NULL CHECK (in_mempool IN (0, 1)),
    mined INTEGER NOT NULL DEFAULT 0 CHECK (mined IN (0, 1)),
    replaced_by TEXT
) STRICT;
CREATE INDEX incoming_in_mempool ON incoming_tx (txid) WHERE in_mempool = 1;
CREATE INDEX incoming_gone ON incoming_tx (txid) WHERE in_mempool = 0 AND mined = 0;

CREATE TABLE incoming_prevout (
    txid TEXT NOT NULL REFERENCES incoming_tx (txid),
    prev_txid TEXT NOT NULL,
    prev_vout INTEGER NOT NULL,
    PRIMARY KEY (prev_txid, prev_vout, txid)
) STRICT;
CREATE INDEX incoming_prevout_by_tx ON incoming_prevout (txid);

CREATE TABLE output (
    txid TEXT NOT NULL REFERENCES incoming_tx (txid),
    vout INTEGER NOT NULL CHECK (vout >= 0),
    payment_number INTEGER NOT NULL REFERENCES payment (number),
    value_sat INTEGER NOT NULL CHECK (value_sat BETWEEN 0 AND 2100000000000000),
    first_seen INTEGER NOT NULL,
    paid_at INTEGER NOT NULL,
    booked INTEGER NOT NULL DEFAULT 0 CHECK (booked IN (0, 1)),
    spent_by TEXT,
    PRIMARY KEY (txid, vout)
) STRICT;
CREATE INDEX output_by_payment ON output (payment_number);
CREATE INDEX output_here ON output (payment_number) WHERE booked = 1 AND spent_by IS NULL;
CREATE INDEX output_spender ON output (spent_by) WHERE spent_by IS NOT NULL;

-- Double entry, append-only. The unique keys are what makes "once" true.
CREATE TABLE account (
    id INTEGER NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    unit TEXT NOT NULL,
    owner TEXT NOT NULL,
    balance INTEGER NOT NULL DEFAULT 0,
    UNIQUE (kind, unit, owner)
) STRICT;

CREATE TABLE transfer (
    id INTEGER NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    payment_number INTEGER REFERENCES payment (number),
    txid TEXT,
    vout INTEGER,
    epoch INTEGER NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    user_id TEXT,
    reference TEXT,
    credits INTEGER NOT NULL,
    evidence TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    -- over the hash before it and its own content (payments/ledger_chain.py)
    hash TEXT NOT NULL,
    UNIQUE (kind, txid, vout, epoch),
    UNIQUE (user_id, reference)
) STRICT;
CREATE INDEX transfer_by_payment ON transfer (payment_number);

CREATE TABLE transfer_line (
    transfer_id INTEGER NOT NULL REFERENCES transfer (id),
    account_id INTEGER NOT NULL REFERENCES account (id),
    delta INTEGER NOT NULL CHECK (delta <> 0),
    balance_after INTEGER NOT NULL,
    PRIMARY KEY (account_id, transfer_id)
) STRICT;
CREATE INDEX transfer_line_by_transfer ON transfer_line (transfer_id);

-- Money out. The signed bytes and their inputs are here before anything is broadcast.
CREATE TABLE sweep (
    txid TEXT NOT NULL PRIMARY KEY,
    raw BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('stored', 'broadcast', 'confirmed')),
    destination TEXT NOT NULL,
    value_sat INTEGER NOT NULL CHECK (value_sat > 0),
    fee_sat INTEGER NOT NULL CHECK (fee_sat >= 0),
    created_at INTEGER NOT NULL,
    broadcast_at INTEGER,
    last_error TEXT
) STRICT;
CREATE INDEX sweep_open ON sweep (created_at) WHERE state <> 'confirmed';

CREATE TABLE sweep_input (
    prev_txid TEXT NOT NULL,
    prev_vout INTEGER NOT NULL,
    sweep_txid TEXT NOT NULL REFERENCES sweep (txid),
    PRIMARY KEY (prev_txid, prev_vout),
    FOREIGN KEY (prev_txid, prev_vout) REFERENCES output (txid, vout)
) STRICT;
CREATE INDEX sweep_input_by_sweep ON sweep_input (sweep_txid);

CREATE TABLE event (
    id INTEGER NOT NULL PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    payment_number INTEGER REFERENCES payment (number),
    sequence INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    data TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX event_order ON event (payment_number, sequence);

CREATE TABLE outbox (
    event_id INTEGER NOT NULL REFERENCES event (id),
    endpoint TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('due', 'delivered', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL,
    PRIMARY KEY (endpoint, event_id)
) STRICT;
CREATE INDEX outbox_due ON outbox (due_at) WHERE state = 'due';

CREATE TABLE idempotency (
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
) STRICT;

CREATE INDEX idempotency_age ON idempotency (created_at);

CREATE TABLE api_key (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at INTEGER
) STRICT;
