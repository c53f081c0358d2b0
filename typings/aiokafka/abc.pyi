import abc
from collections.abc import Awaitable, Iterable

from .structs import TopicPartition

class ConsumerRebalanceListener(abc.ABC):
    @abc.abstractmethod
    def on_partitions_revoked(
        self, revoked: Iterable[TopicPartition]
    ) -> Awaitable[None] | None: ...
    @abc.abstractmethod
    def on_partitions_assigned(
        self, assigned: Iterable[TopicPartition]
    ) -> Awaitable[None] | None: ...

class AbstractTokenProvider(abc.ABC):
    @abc.abstractmethod
    async def token(self) -> str: ...
    def extensions(self) -> dict[str, str]: ...
