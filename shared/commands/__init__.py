"""Commands: what they are, how a door turns a request into one, why one is refused."""
