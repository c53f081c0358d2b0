"""Owns the HTTP edge: routes, strict input, problems, documents and the client.

Must not know an estate rule or a table.
"""
