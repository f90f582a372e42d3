"""Keys: the seed in its file, and who signs with it. Asks neither the node nor the database anything."""
