"""The registry: organisations, services and who owns them."""
