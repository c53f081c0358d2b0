"""Organisations and teams: who there is to keep and to own services."""
