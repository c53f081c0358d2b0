from collections.abc import Sequence
from typing import Protocol

class BatchRecordMetadata(Protocol):
    offset: int
    size: int
    timestamp: int

class BatchBuilder:
    def append(
        self,
        *,
        timestamp: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] | None = ...,
    ) -> BatchRecordMetadata | None: ...
    def close(self) -> None: ...
    def size(self) -> int: ...
    def record_count(self) -> int: ...
    def closed(self) -> bool: ...
