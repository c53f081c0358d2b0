"""The demo: a real estate of ten years, imported through both doors, and asked about."""
