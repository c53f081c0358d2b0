"""Owns the Kafka jars: which ones (the committed lock), that they are those, and fetching them.

Must not run Java.
"""

import errno
import fcntl
import hashlib
import logging
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.local.errors import LaunchError

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LOCK_FILE = Path(__file__).parents[1] / "kafka" / "jgo.lock.toml"
_PARALLEL_DOWNLOADS = 6
_DOWNLOAD_TIMEOUT_S = 60
_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


@dataclass(frozen=True, slots=True)
class LockedJar:
    """One jar of the lock; a mismatch of its digest is never run."""

    group: str
    artifact: str
    version: str
    sha256: str

    def path_in(self, repository: Path) -> Path:
        """Its place in a folder laid out as Maven lays it out."""
        folder = repository.joinpath(*self.group.split("."), self.artifact, self.version)
        return folder / f"{self.artifact}-{self.version}.jar"

    def is_intact(self, repository: Path) -> bool:
        """Whether it is there with the bytes that were locked."""
        path = self.path_in(repository)
        if not path.exists():
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


def read_lock(lock_file: Path = LOCK_FILE) -> list[LockedJar]:
    """The jars of the broker, in class path order."""
    dependencies = tomllib.loads(lock_file.read_text())["dependencies"]
    return [
        LockedJar(d["groupId"], d["artifactId"], d["version"], d["sha256"]) for d in dependencies
    ]


def class_path(
    cache_dir: Path, maven_repository: str | None, on_progress: Callable[[str], None]
) -> list[Path]:
    """The verified jars, fetched first where they are missing; needs no network otherwise.

    Safe under concurrent starts that share the cache. Blocking.

    Raises: LaunchError when a jar cannot be fetched or kept, or is not the locked one.
    """
    repository = cache_dir.expanduser().absolute() / "maven"
    jars = read_lock()
    try:
        repository.mkdir(parents=True, exist_ok=True)
        if _not_intact(jars, repository):
            with (repository / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                _fetch(_not_intact(jars, repository), repository, maven_repository, on_progress)
    except OSError as error:
        raise LaunchError(_not_kept(repository, error)) from error
    return [jar.path_in(repository) for jar in jars]


def _not_intact(jars: list[LockedJar], repository: Path) -> list[LockedJar]:
    with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
        intact = list(pool.map(lambda jar: jar.is_intact(repository), jars))
    return [jar for jar, good in zip(jars, intact, strict=True) if not good]


def _fetch(
    jars: list[LockedJar],
    repository: Path,
    maven_repository: str | None,
    on_progress: Callable[[str], None],
) -> None:
    if not jars:
        return
    on_progress(f"Fetching Apache Kafka: {len(jars)} jars into {repository}")
    context = _maven(repository, maven_repository)
    with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
        list(pool.map(lambda jar: _fetch_one(context, jar, repository), jars))


def _fetch_one(context: "MavenContext", jar: LockedJar, repository: Path) -> None:
    path = jar.path_in(repository)
    path.unlink(missing_ok=True)
    try:
        context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    except Exception as error:
        unkept = _of_the_disk(error)
        text = _not_fetched(jar, error) if unkept is None else _not_kept(repository, unkept)
        raise LaunchError(text) from error
    if not jar.is_intact(repository):
        path.unlink(missing_ok=True)
        raise LaunchError(
            f"{path.name} was fetched but is not the jar that {LOCK_FILE} names by sha256; it was "
            "removed. Try again; if it stays so, the Maven repository hands out something else."
        )


def _of_the_disk(error: BaseException | None) -> OSError | None:
    """The fault of the disk that led to an error, if one did: others are of the network."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_FAULTS:
            return error
        error = error.__cause__ or error.__context__
    return None


def _not_kept(repository: Path, error: OSError) -> str:
    return (
        f"The Kafka jars cannot be kept in {repository}: {error.strerror}. Free some room there "
        "(50 MB), or set ESTATE_CACHE_DIR to a folder that can be written."
    )


def _not_fetched(jar: LockedJar, error: Exception) -> str:
    return (
        f"Apache Kafka cannot be fetched: {jar.artifact} {jar.version}: {error}. "
        "Check the network (HTTPS_PROXY is honoured; ESTATE_MAVEN_REPOSITORY names another Maven "
        "repository), or run Kafka elsewhere (`docker compose up`) and set ESTATE_KAFKA_BOOTSTRAP."
    )


def _maven(repository: Path, maven_repository: str | None) -> "MavenContext":
    # Imported where something is to be fetched: a start from the cache does without.
    try:
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 - as said above.
    except ImportError as error:
        raise LaunchError(
            "The Kafka jars are not in the cache and `jgo`, which fetches them, is not installed. "
            "Run `uv sync --extra local`, or use docker compose and set ESTATE_KAFKA_BOOTSTRAP."
        ) from error
    # It says every failed attempt on its own; what matters is in the LaunchError.
    logging.getLogger("jgo").setLevel(logging.ERROR)
    return MavenContext(
        resolver=PythonResolver(),
        repo_cache=repository,
        remote_repos={"given": maven_repository.rstrip("/")} if maven_repository else None,
        timeout=_DOWNLOAD_TIMEOUT_S,
    )
