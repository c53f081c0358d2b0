"""What a setting may look like, and reading settings so that every fault is named at once."""
