"""Owns what operators see: logs, metrics and health.

Must not change what the service does.
"""
