"""Learning from answered questions, and serving what was learned as plain numbers."""
