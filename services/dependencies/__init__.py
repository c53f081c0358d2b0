"""Dependencies: what depends on what, declared and resolved over time."""
