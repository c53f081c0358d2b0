"""Mechanism and published contracts; no rule of the estate lives here."""
