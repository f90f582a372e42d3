"""Money out: which coins go to the owner, when, and for what fee."""
