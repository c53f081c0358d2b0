"""The change feed of the whole estate: by page, or as a stream of server-sent events."""
