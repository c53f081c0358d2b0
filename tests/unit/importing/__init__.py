"""Owns the tests of what source files mean as submissions."""
