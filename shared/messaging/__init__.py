"""Kafka: the relay that publishes a log, the feed that reads one, the intake of submissions."""
