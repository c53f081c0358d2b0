"""The documentation, and what keeps its tables true."""
