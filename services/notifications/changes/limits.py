"""Owns the bounds of the change feed in one process."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """See docs/configuration.md.

    The server's `max_connections` should be well above `max_streams`. A stream ends
    after `stream_max_s`, so that its reader's credential is looked at again.
    """

    max_streams: int = 500
    stream_max_s: float = 900.0
    ahead_wait_s: float = 10.0
    heartbeat_s: float = 15.0
    send_timeout_s: float = 10.0
    retry_ms: int = 2_000
    poll_interval_s: float = 0.1
    chunk_bytes: int = 64 * 1024
    catch_up_changes: int = 100
    catch_up_bytes: int = 128 * 1024
    catch_up_at_once: int = 4
    page_bytes: int = 4 * 1024 * 1024
    tail_changes: int = 2_000
    tail_bytes: int = 8 * 1024 * 1024
