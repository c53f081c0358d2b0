"""Owns what docker-compose.yml needs beside it: secrets before the first start, databases at it.

Must not hold anything that a running service uses.
"""
