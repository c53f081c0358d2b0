"""Connections to Postgres and the migrations that shape it."""
