"""Owns the `estate` command: questions to the estate and work on it, for people and programs.

Must not reach into a service; it uses their HTTP interfaces and topics like anybody else.
"""
