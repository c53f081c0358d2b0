"""Owns the place of the cache of loaded classes and profiles that brokers start from (JEP 514).

Must not make it, and must not be needed: without it a broker starts too, more slowly.
"""

import hashlib
from pathlib import Path

from deploy.local.java import java_binary
from deploy.local.kafka_jars import LOCK_FILE


def java_cache(cache_dir: Path) -> Path:
    """Its file for the locked jars, in that place, and this Java."""
    release = java_binary().parents[1] / "release"
    digest = hashlib.sha256(LOCK_FILE.read_bytes() + release.read_bytes()).hexdigest()
    return cache_dir.expanduser().absolute() / "java" / f"kafka-{digest[:16]}.aot"


def starting_from(cache: Path) -> list[str]:
    """Options of Java to start from it where it is; one that does not fit is passed over."""
    return [f"-XX:AOTCache={cache}"] if cache.exists() else []


def writing_to(cache: Path) -> list[str]:
    """Options of Java to make it, at the end of the run."""
    return [f"-XX:AOTCacheOutput={cache}"]
