"""Owns the mapping from other bodies' source files to submissions.

Must not send, store or print anything; it only reads its source files.
"""
