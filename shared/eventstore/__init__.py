"""The log: append-only, gapless, hashed. The only truth of a service."""
