"""From events to read models: feeds, checkpoints, the loop, generations."""
