"""What every read shares: the moment asked about, read-your-writes, positions and lag."""
