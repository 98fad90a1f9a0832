"""The console: a page and an API over what Holdfast has said, read from its topics and kept in memory."""
