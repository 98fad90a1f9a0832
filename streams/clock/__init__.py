"""Event time: how far it has come (watermark), what is due (timers), which record is next (merge)."""
