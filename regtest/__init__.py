"""A real bitcoind (and PostgreSQL) for tests and for the demo: get it, start it, mine, pay."""
