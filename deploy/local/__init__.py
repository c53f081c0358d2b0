"""PostgreSQL and Apache Kafka as local processes, for the demo, the tests and the benchmarks.

Imports nothing, so that the keeper starts at once; the entry is `deploy.local.launcher`.
"""
