"""Everything that talks to bitcoind: questions (RPC, REST), hints (ZMQ), and what follows from them."""
