"""Owns the connections through which a service reads: one pool per generation.

Must not write to a projection.
"""
