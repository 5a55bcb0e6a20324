"""How one attention is computed, on ready-made query, key and value. May import `method`, `config` and `errors`."""
