"""Runs in an environment of the peer's own: appends with `eventsourcing`, prints how fast.

Must import nothing of this project.
"""

import json
import platform
import sys
import threading
import time
import uuid
from importlib.metadata import version
from urllib.parse import urlsplit

from eventsourcing.persistence import (  # type: ignore[import-not-found]
    ApplicationRecorder,
    InfrastructureFactory,
    StoredEvent,
)
from eventsourcing.utils import Environment  # type: ignore[import-not-found]

_EVENTS_EACH_SERVICE = 9
_DATA = {
    "name": "Service 12345",
    "kind": "user-facing-service",
    "slug": "service-0012345",
    "organisation": "org_" + 32 * "0",
    "phase": "discovery",
    "description": "Lets people apply, renew and tell us about a change of circumstances.",
    "aliases": ["bench:12345"],
    "attributes": {"source": "bench", "set": {"hosted_on": "eks", "team_size": 7}, "unset": []},
}


def _recorder(dsn: str, writers: int) -> ApplicationRecorder:
    parts = urlsplit(dsn)
    factory = InfrastructureFactory.construct(
        Environment(
            "bench",
            {
                "PERSISTENCE_MODULE": "eventsourcing.postgres",
                "POSTGRES_DBNAME": parts.path[1:],
                "POSTGRES_HOST": parts.hostname,
                "POSTGRES_PORT": str(parts.port),
                "POSTGRES_USER": parts.username,
                "POSTGRES_PASSWORD": parts.password,
                "POSTGRES_POOL_SIZE": str(writers),
                "POSTGRES_MAX_OVERFLOW": "4",
                "POSTGRES_MAX_WAITING": "100",
                "POSTGRES_SCHEMA": "public",
                "CREATE_TABLE": "yes",
            },
        )
    )
    return factory.application_recorder()


def main(dsn: str, size: int, events_each: int, writers: int) -> None:
    recorder = _recorder(dsn, writers)
    state = json.dumps(_DATA, separators=(",", ":")).encode()
    origins = [uuid.uuid4() for _ in range(-(-size // _EVENTS_EACH_SERVICE))]
    events = [
        StoredEvent(
            origins[number // _EVENTS_EACH_SERVICE],
            number % _EVENTS_EACH_SERVICE + 1,
            "bench:Registered",
            state,
        )
        for number in range(size)
    ]
    batches = [events[start : start + events_each] for start in range(0, size, events_each)]
    recorder.insert_events([StoredEvent(uuid.uuid4(), 1, "bench:Warm", state)])
    with recorder.datastore.transaction(commit=True) as cursor:
        cursor.execute("DELETE FROM public.bench_events")

    def append(own: list[list[StoredEvent]]) -> None:
        for batch in own:
            recorder.insert_events(batch)

    threads = [threading.Thread(target=append, args=(batches[n::writers],)) for n in range(writers)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = size / (time.perf_counter() - started)
    print(json.dumps({"rate": rate, "versions": _versions()}))


def _versions() -> dict[str, str]:
    packages = ("eventsourcing", "psycopg", "psycopg_pool")
    return {name: version(name) for name in packages} | {"Python": platform.python_version()}


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:5]))
