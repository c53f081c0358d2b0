"""Owns the demo's import: organisations first, then both histories through both doors.

Must not ask a question about the result.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, Protocol

from cli.demo.sending import (
    PATIENCE_S,
    Pace,
    await_settled,
    await_topic,
    require_accepted,
    send_over_http,
    send_over_kafka,
    status_of,
)
from cli.demo.sources import OTHER_SLUG, Plan, Source
from cli.importing.submission import Submission
from shared.auth.principals import Role
from shared.http.client import ApiClient
from shared.messaging.kafka import KafkaSettings

OTHER_BODY: Final = {
    "name": "HM Land Registry",
    "kind": "public-body",
    "slug": OTHER_SLUG,
    "aliases": ["govuk:land-registry"],
    "reason": "a second organisation, to show that each changes only its own services",
}

Advance = Callable[[str, int], None]
"""Told the name of a source and how many more of its submissions went through."""


class Target(Protocol):
    """The estate that an import goes into."""

    @property
    def urls(self) -> Mapping[str, str]:
        """The services' addresses, by name."""
        ...

    @property
    def kafka(self) -> KafkaSettings:
        """How to reach Kafka."""
        ...

    def ensure_key(self, name: str, role: Role, organisation: str | None = None) -> str:
        """The key of that name, issued when there is none yet."""
        ...


async def import_all(
    estate: Target,
    plan: Plan,
    *,
    rate: float | None,
    dependencies_first: bool,
    on_advance: Advance,
) -> str:
    """Import everything and return the id of the organisation whose estate it is.

    The same import again finds every key used and makes no event.

    Raises: ImportRefusedError, ImportStalledError, ApiError, ApiUnreachable.
    """
    organisation = await _register_home(estate, plan.organisations[0])
    emitter = estate.ensure_key("emitter", Role.EMITTER, organisation)
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(ApiClient(url, emitter, deadline_s=PATIENCE_S))
            for name, url in estate.urls.items()
        }
        teams = plan.organisations[1:]
        await send_over_http(clients["registry"], teams, Pace(None), lambda _count: None)
        sources = [plan.docker, plan.repos] if dependencies_first else [plan.repos, plan.docker]
        for source in sources:
            await _import(
                source,
                clients[source.service],
                estate.kafka,
                organisation,
                Pace(rate),
                partial(on_advance, source.name),
            )
    return organisation


async def _import(
    source: Source,
    client: ApiClient,
    settings: KafkaSettings,
    organisation: str,
    pace: Pace,
    on_sent: Callable[[int], None],
) -> None:
    topic = await await_topic(settings, source.service, organisation)
    through_http = await _still_to_send(client, source.through("http"), on_sent)
    through_kafka = await _still_to_send(client, source.through("kafka"), on_sent)
    doors = [
        asyncio.create_task(send_over_http(client, through_http, pace, on_sent)),
        asyncio.create_task(send_over_kafka(settings, topic, through_kafka, pace, on_sent)),
    ]
    try:
        await asyncio.gather(*doors)
    finally:
        for one in doors:
            one.cancel()
    await await_settled(client, through_kafka)


async def _still_to_send(
    client: ApiClient, submissions: list[Submission], on_sent: Callable[[int], None]
) -> list[Submission]:
    """Nothing when the last one was accepted, for a door takes them in order; else all of them.

    Those that were accepted before have no second effect.
    """
    if submissions and await status_of(client, submissions[-1]) == "accepted":
        on_sent(len(submissions))
        return []
    return submissions


async def require_complete(estate: Target, source: Source) -> None:
    """Find out which submission of a source is not in the log.

    Raises: ImportRefusedError naming one that was not accepted.
    """
    url, key = estate.urls[source.service], estate.ensure_key("emitter", Role.EMITTER)
    async with ApiClient(url, key, deadline_s=PATIENCE_S) as client:
        await require_accepted(client, [one for row in source.rows for one in row.submissions])


async def _register_home(estate: Target, home: Submission) -> str:
    """An administrator registers the organisations; their emitters do the rest."""
    admin = estate.ensure_key("admin", Role.ADMIN)
    async with ApiClient(estate.urls["registry"], admin, deadline_s=PATIENCE_S) as client:
        body = {
            **home.data,
            "aliases": [home.subject],
            "effective_from": home.to_cloudevent()["time"],
        }
        answer = await client.post("/v1/organisations", body, idempotency_key=home.id)
        organisation = str(answer.json()["id"])
        other = await client.post("/v1/organisations", OTHER_BODY, idempotency_key="demo-other")
    estate.ensure_key("other-emitter", Role.EMITTER, str(other.json()["id"]))
    for role in (Role.INTEGRATOR, Role.OPERATOR, Role.AUDITOR):
        estate.ensure_key(role.value, role)
    return organisation
