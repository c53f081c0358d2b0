"""Owns sending submissions to a topic until each is decided, with the same id again if need be.

Must not take the broker's acknowledgement for an outcome.
"""

import asyncio
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import orjson
from aiokafka import AIOKafkaProducer

from shared.contracts.topics import submissions_topic
from shared.messaging.kafka import (
    KafkaSettings,
    KafkaUnreachableError,
    drop_producer,
    reaching_kafka,
    start_producer,
)
from tests.faults.ledger import Request
from tests.faults.sending import Sender

_SEND_S: Final = 10.0
_LOOK_AGAIN_S: Final = 0.1
_SEND_AGAIN_AFTER: Final = 150


class Submitter:
    """Puts requests on an organisation's topic, each `copies` times."""

    def __init__(
        self, sender: Sender, kafka: KafkaSettings, organisation: str, copies: int
    ) -> None:
        self._sender = sender
        self._kafka = kafka
        self._organisation = organisation
        self._copies = copies
        self._producer: AIOKafkaProducer | None = None

    async def settle(self, log: str, requests: Sequence[Request]) -> None:
        """Send until each was accepted or rejected, in their order.

        One that is certainly on its topic must be decided while there is time.
        """
        for request in requests:
            self._sender.ledger.send(request)
        is_there = await self._send_all(log, requests)
        waiting, looks = list(requests), 0
        while waiting and not self._sender.ending.is_over():
            waiting = [request for request in waiting if not await self._is_decided(request)]
            looks += 1
            if waiting and looks % _SEND_AGAIN_AFTER == 0:
                await self._send_all(log, waiting)
            await asyncio.sleep(_LOOK_AGAIN_S)
        for request in waiting if is_there else ():
            self._sender.ledger.violate(f"lost: on its topic, but not decided: {request.key}")

    async def close(self) -> None:
        """Let the producer go."""
        if self._producer is not None:
            await drop_producer(self._producer)
            self._producer = None

    async def _send_all(self, log: str, requests: Sequence[Request]) -> bool:
        """All of them in order, all again until all are certain to be there; tell whether so."""
        topic = submissions_topic(log, self._organisation)
        while not self._sender.ending.is_over():
            try:
                await self._send(topic, requests)
            except KafkaUnreachableError:
                await self.close()
                await asyncio.sleep(0.2)
            else:
                return True
        return False

    async def _send(self, topic: str, requests: Sequence[Request]) -> None:
        if self._producer is None:
            self._producer = await start_producer(self._kafka, batch_max_bytes=1_000_000)
        async with reaching_kafka(_SEND_S):
            sent = [
                await self._producer.send(topic, orjson.dumps(request.body), partition=0)
                for request in requests
                for _copy in range(self._copies)
            ]
            await asyncio.gather(*sent)

    async def _is_decided(self, request: Request) -> bool:
        sender = self._sender
        query = urlencode({"source": "load", "id": request.name})
        url = sender.random.choice(sender.urls[request.log])
        headers = {"Authorization": f"Bearer {sender.keys[request.sender]}"}
        answer = await sender.ask("GET", f"{url}/v1/submissions?{query}", headers)
        found = answer.document if answer is not None and answer.status == 200 else {}
        if found.get("status") == "accepted":
            sender.ledger.accept(request, found["accepted"])
            return True
        if found.get("status") == "rejected":
            problem = str(found["rejected"].get("type", "")).rsplit("/", 1)[-1]
            sender.ledger.refuse(request, problem, doubtful=False)
            return True
        return False
