"""Reproducible measurements, each beside a raw limit or a peer in the same run."""
