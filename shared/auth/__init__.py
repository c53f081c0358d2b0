"""Owns who is calling: principals, API keys and bearer tokens.

Must not decide what a caller may do to a service; routes and deciders do.
"""
