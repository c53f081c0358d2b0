"""Notifications: the change feed over every log."""
