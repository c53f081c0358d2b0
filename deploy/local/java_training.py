"""Owns making the cache that brokers start from: by one run of a broker that does nothing else.

Must not fail a set-up: what comes of a failure is slower starts.
"""

import asyncio
import fcntl
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from deploy.local.config import LaunchConfig
from deploy.local.errors import LaunchError
from deploy.local.java_cache import java_cache, writing_to
from deploy.local.kafka_cluster import prepare_cluster
from deploy.local.keeper_link import KeeperLink
from deploy.local.readiness import NotUsableError, kafka_usable
from deploy.local.state_folder import prepare

_START_DEADLINE_S: Final = 90.0
_WRITE_DEADLINE_S: Final = 120.0


async def make_java_cache(config: LaunchConfig, on_progress: Callable[[str], None]) -> None:
    """Make the cache where there is none for these jars and this Java: 10 s and 70 MB, once.

    A start of a broker then takes half of the time and of the processor. Safe under concurrent
    calls; what cannot be made is told and done without.
    """
    try:
        cache = java_cache(config.cache_dir)
        if cache.exists():
            return
        cache.parent.mkdir(parents=True, exist_ok=True)
        with cache.with_suffix(".lock").open("w") as lock:
            await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
            if not cache.exists():
                on_progress("Preparing fast starts of Apache Kafka, once")
                await _make(cache, config)
    except (OSError, LaunchError, NotUsableError) as error:
        on_progress(f"Kafka will start more slowly, its cache of classes was not made: {error}")


async def _make(cache: Path, config: LaunchConfig) -> None:
    with tempfile.TemporaryDirectory(dir=cache.parent, ignore_cleanup_errors=True) as made_in:
        made = Path(made_in) / cache.name
        folder = await asyncio.to_thread(prepare, Path(made_in) / "broker")
        keeper = await KeeperLink.open(folder)
        try:
            await _run_a_broker(folder, config, keeper, made)
        finally:
            await keeper.close()
        made.rename(cache)


async def _run_a_broker(
    folder: Path, config: LaunchConfig, keeper: KeeperLink, cache: Path
) -> None:
    cluster = await prepare_cluster(
        folder, config, count=1, secure=False, on_progress=lambda _text: None
    )
    (node,) = cluster.nodes
    await cluster.format(node, keeper)
    # Java writes the cache as it ends.
    server = replace(cluster, java_options=writing_to(cache)).server(node)
    server = replace(server, stop_deadline_s=_WRITE_DEADLINE_S)
    await keeper.start(server)
    await kafka_usable(
        cluster.access, {node.number}, lambda: keeper.has_exited(node.name), _START_DEADLINE_S
    )
    await keeper.stop(node.name)
