"""The launcher against the real servers: usable, gone afterwards, and never in two hands."""

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAuthorizationFailedError

from cli.keeping_running import kept_running
from deploy.local import kafka_jars, state_folder
from deploy.local.config import KafkaAccess, from_environment
from deploy.local.java_cache import java_cache
from deploy.local.java_training import make_java_cache
from deploy.local.launcher import BackingServices, LaunchError, backing_services
from deploy.local.process_table import is_alive, with_descendants
from deploy.local.readiness import registered_nodes
from shared.messaging.access_control import AccessRule, AclOperation, access_control
from shared.messaging.kafka import KafkaSettings

_ROOT = Path(__file__).parents[2]
_ENDED_WITHIN_S = 15.0


@pytest.fixture(autouse=True)
def no_given_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    _forget_given_addresses(monkeypatch)


def _forget_given_addresses(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("ESTATE_POSTGRES_DSN", raising=False)
    environment.delenv("ESTATE_KAFKA_BOOTSTRAP", raising=False)


@pytest.fixture(scope="module")
def state_dir() -> Iterator[Path]:
    # Not below pytest's own folder: a run beside this one would close it to the server's user.
    with tempfile.TemporaryDirectory(prefix="launcher-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
async def services(state_dir: Path) -> AsyncIterator[BackingServices]:
    with pytest.MonkeyPatch.context() as environment:
        _forget_given_addresses(environment)
        async with backing_services(state_dir) as running:
            yield running


async def _until(holds: Callable[[], Awaitable[bool]], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not await holds():
            await asyncio.sleep(0.05)


async def _query(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return await connection.fetchval(sql, timeout=10)
    finally:
        await connection.close()


async def _create_topic(access: KafkaAccess, topic: str, copies: int = 1) -> None:
    admin = AIOKafkaAdminClient(**access.client_options())
    await admin.start()
    try:
        created = await admin.create_topics([NewTopic(topic, 1, copies)])
    finally:
        await admin.close()
    assert [code for _, code, *_ in created.topic_errors] == [0]


async def _send(access: KafkaAccess, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(**access.client_options(), acks="all")
    try:
        await producer.start()
        await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def _read(access: KafkaAccess, topic: str, count: int) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(**access.client_options(), enable_auto_commit=False)
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        async with asyncio.timeout(20):
            return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def test_both_are_usable_on_this_machine_only(services: BackingServices) -> None:
    await _create_topic(services.kafka, "usable")
    await _send(services.kafka, "usable", b"one")

    assert await _read(services.kafka, "usable", 1) == [b"one"]
    settings = "SELECT current_setting('fsync') || current_setting('listen_addresses')"
    assert await _query(services.postgres_dsn, settings) == "on127.0.0.1"
    assert str(await _query(services.postgres_dsn, "SHOW server_version")).startswith("18.")


async def test_secrets_are_readable_by_their_owner_only(
    services: BackingServices, state_dir: Path
) -> None:
    password = state_dir / "postgres.password"

    assert password.stat().st_mode & 0o777 == 0o600
    assert password.read_text() in services.postgres_dsn
    with pytest.raises(asyncpg.InvalidPasswordError):
        await _query(services.postgres_dsn.replace(password.read_text(), "guess"), "SELECT 1")


async def test_second_launch_on_the_same_folder_is_refused(
    services: BackingServices, state_dir: Path
) -> None:
    assert services.postgres_dsn
    with pytest.raises(LaunchError, match=rf"in use by process {os.getpid()}.*another state"):
        async with backing_services(state_dir):
            pass


async def test_killed_postgres_keeps_what_was_committed(services: BackingServices) -> None:
    dsn = services.postgres_dsn
    await _query(dsn, "CREATE TABLE kept AS SELECT 7 AS number")

    await services.kill_postgres()
    with pytest.raises(OSError, match="Connect call failed"):
        await _query(dsn, "SELECT 1")
    await services.start_postgres()

    assert services.postgres_dsn == dsn
    assert await _query(dsn, "SELECT number FROM kept") == 7
    await services.stop_postgres()
    await services.start_postgres()
    assert await _query(dsn, "SELECT number FROM kept") == 7


async def test_killed_kafka_keeps_what_was_acknowledged(services: BackingServices) -> None:
    await _create_topic(services.kafka, "kept")
    await _send(services.kafka, "kept", b"one")

    await services.kill_kafka()
    await services.start_kafka()
    await _send(services.kafka, "kept", b"two")

    assert await _read(services.kafka, "kept", 2) == [b"one", b"two"]


async def test_servers_of_a_shown_run_that_end_are_told_and_started_again(
    services: BackingServices,
) -> None:
    told: list[str] = []

    async def both_answer() -> bool:
        try:
            return await _query(services.postgres_dsn, "SELECT 1") == 1 and await registered_nodes(
                services.kafka
            ) == {1}
        except (OSError, asyncpg.PostgresError):
            return False

    async with kept_running(services.own_servers, told.append, first_pause_s=0.01):
        await asyncio.gather(services.kill_postgres(), services.kill_kafka())
        await _until(both_answer, 60)
    assert [one.partition(", ")[0] for one in sorted(told)] == [
        "Kafka (kafka-1) ended by signal 9",
        "PostgreSQL ended by signal 9",
    ]


async def test_frozen_servers_answer_again_when_thawed(services: BackingServices) -> None:
    connection = await asyncpg.connect(services.postgres_dsn)
    await services.freeze_postgres()
    await services.freeze_kafka()
    try:
        with pytest.raises(TimeoutError):
            await connection.fetchval("SELECT 1", timeout=0.3)
    finally:
        await services.thaw_postgres()
        await services.thaw_kafka()
        await connection.close(timeout=10)

    assert await _query(services.postgres_dsn, "SELECT 1") == 1
    assert await registered_nodes(services.kafka) == {1}


async def test_killed_launcher_leaves_nothing_running_and_its_data_resumes(tmp_path: Path) -> None:
    launcher, first = await _launch_apart(tmp_path)
    dsn, kafka = first["ESTATE_POSTGRES_DSN"], KafkaAccess(first["ESTATE_KAFKA_BOOTSTRAP"])
    await _query(dsn, "CREATE TABLE kept AS SELECT 7 AS number")
    await _create_topic(kafka, "kept")
    await _send(kafka, "kept", b"one")
    family = with_descendants(launcher.pid)
    assert len(family) >= 5

    await _kill_and_reap(launcher, launcher.pid)
    await _until(_ended(family), _ENDED_WITHIN_S)

    async with backing_services(tmp_path) as resumed:
        assert resumed.kafka.bootstrap != kafka.bootstrap
        assert await _query(resumed.postgres_dsn, "SELECT number FROM kept") == 7
        assert await _read(resumed.kafka, "kept", 1) == [b"one"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
async def test_killed_keeper_takes_its_servers_with_it(tmp_path: Path) -> None:
    launcher, _ = await _launch_apart(tmp_path, "--no-kafka")
    family = with_descendants(launcher.pid)
    keeper = family[1]

    os.kill(keeper, signal.SIGKILL)
    await _until(_ended(family[1:]), _ENDED_WITHIN_S)
    await _kill_and_reap(launcher, launcher.pid)
    async with backing_services(tmp_path, kafka=False) as resumed:
        assert await _query(resumed.postgres_dsn, "SELECT 1") == 1


async def _launch_apart(state: Path, *options: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    command = [sys.executable, "-m", "deploy.local", "up", "--state", str(state), *options]
    launcher = subprocess.Popen(  # noqa: ASYNC220, S603 - it is to outlive this call.
        command, cwd=_ROOT, stdout=subprocess.PIPE, text=True
    )
    lines: dict[str, str] = {}
    wanted = 1 if options else 2
    while len(lines) < wanted:
        line = await asyncio.to_thread(_stdout_line, launcher)
        assert line, "the launcher ended"
        key, _, value = line.strip().partition("=")
        lines[key] = value
    return launcher, lines


def _stdout_line(launcher: subprocess.Popen[str]) -> str:
    assert launcher.stdout is not None
    return launcher.stdout.readline()


async def _kill_and_reap(launcher: subprocess.Popen[str], pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    with launcher:
        await asyncio.to_thread(launcher.wait, _ENDED_WITHIN_S)


def _ended(family: list[int]) -> Callable[[], Awaitable[bool]]:
    async def _all_ended() -> bool:
        return not any([await asyncio.to_thread(is_alive, pid) for pid in family])

    return _all_ended


async def test_given_addresses_are_used_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESTATE_POSTGRES_DSN", "postgresql://somewhere/else")
    monkeypatch.setenv("ESTATE_KAFKA_BOOTSTRAP", "kafka.example:9092")

    async with backing_services(tmp_path / "unused") as given:
        assert given.postgres_dsn == "postgresql://somewhere/else"
        assert given.kafka == KafkaAccess("kafka.example:9092")
        with pytest.raises(LaunchError, match="ESTATE_POSTGRES_DSN"):
            await given.kill_postgres()
        with pytest.raises(LaunchError, match="ESTATE_KAFKA_BOOTSTRAP"):
            await given.kill_kafka()
    assert not (tmp_path / "unused").exists()


async def test_jar_with_other_bytes_is_never_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jar = kafka_jars.LockedJar("g.h", "a", "1", "0" * 64)
    jar.path_in(tmp_path / "maven").parent.mkdir(parents=True)
    jar.path_in(tmp_path / "maven").write_bytes(b"not the jar")
    monkeypatch.setattr(kafka_jars, "read_lock", lambda: [jar])
    nowhere = f"http://127.0.0.1:{state_folder.free_ports(1)[0]}"

    with pytest.raises(LaunchError, match=r"cannot be fetched.*ESTATE_KAFKA_BOOTSTRAP"):
        kafka_jars.class_path(tmp_path, nowhere, lambda _: None)
    assert not jar.path_in(tmp_path / "maven").exists()


@pytest.mark.parametrize("folder", ["/proc/nowhere", "/dev/null/cache"])
def test_a_cache_that_cannot_be_written_is_told_with_what_to_do(folder: str) -> None:
    with pytest.raises(LaunchError, match=rf"cannot be kept in {folder}.*ESTATE_CACHE_DIR"):
        kafka_jars.class_path(Path(folder), None, lambda _: None)


def test_a_full_disk_is_not_taken_for_a_network_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def __getattr__(self, _name: str) -> Any:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(kafka_jars, "read_lock", lambda: [kafka_jars.LockedJar("g", "a", "1", "0")])
    monkeypatch.setattr(kafka_jars, "_maven", lambda *_: Full())
    with pytest.raises(LaunchError, match=r"No space left on device\. Free some room there"):
        kafka_jars.class_path(tmp_path, None, lambda _: None)


async def test_start_from_the_cache_needs_no_network(services: BackingServices) -> None:
    assert services.kafka
    cache = from_environment().cache_dir
    jars = kafka_jars.class_path(cache, "http://127.0.0.1:1", lambda _: None)
    assert len(jars) == len(kafka_jars.read_lock())


async def test_short_disk_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_folder, "_NEEDED_BYTES", 2**62)
    with pytest.raises(LaunchError, match="MiB are free"):
        async with backing_services(tmp_path):
            pass


async def test_taken_port_is_told_and_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setattr("deploy.local.postgres_server.free_ports", lambda _: [port])
        with pytest.raises(LaunchError, match=rf"Port {port}.*taken"):
            async with backing_services(tmp_path, kafka=False):
                pass


async def test_failed_start_quotes_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        sys.modules["deploy.local.postgres_server"]._SETTINGS, "shared_buffers", "much"
    )
    with pytest.raises(LaunchError, match=r'(?s)Last lines of.*"shared_buffers": "much"'):
        async with backing_services(tmp_path, kafka=False):
            pass


@pytest.mark.slow
async def test_three_nodes_with_access_control(tmp_path: Path) -> None:
    async with backing_services(
        tmp_path, postgres=False, kafka_nodes=3, kafka_secure=True
    ) as secure:
        assert await registered_nodes(secure.kafka) == {1, 2, 3}
        await _create_topic(secure.kafka, "submissions", copies=3)
        supplier = secure.kafka.as_user("supplier", "made-up")
        async with access_control(KafkaSettings(**asdict(secure.kafka))) as control:
            await control.put_user("supplier", "made-up")
            with pytest.raises(TopicAuthorizationFailedError):
                await _send(supplier, "submissions", b"refused")
            await control.grant("supplier", [AccessRule(AclOperation.WRITE, "submissions")])
        await _send(supplier, "submissions", b"one")
        await secure.kill_kafka(3)
        await _send(supplier, "submissions", b"two")
        await secure.start_kafka(3)

        assert await _read(secure.kafka, "submissions", 2) == [b"one", b"two"]
        assert await registered_nodes(secure.kafka.as_user("supplier", "wrong")) == set()
    with pytest.raises(LaunchError, match="holds a Kafka cluster"):
        async with backing_services(tmp_path, postgres=False):
            pass


async def test_a_cache_of_classes_that_does_not_fit_stops_no_broker(tmp_path: Path) -> None:
    (tmp_path / "maven").symlink_to(from_environment().cache_dir / "maven")
    cache = java_cache(tmp_path)
    cache.parent.mkdir()
    cache.write_bytes(b"no cache of Java" * 1000)
    state = tmp_path / "state"
    async with backing_services(state, postgres=False, cache_dir=tmp_path) as running:
        assert await registered_nodes(running.kafka) == {1}


async def test_a_cache_of_classes_that_cannot_be_kept_is_told_and_done_without(
    tmp_path: Path,
) -> None:
    (tmp_path / "java").touch()
    said: list[str] = []
    await make_java_cache(replace(from_environment(), cache_dir=tmp_path), said.append)
    assert len(said) == 1
    assert said[0].startswith("Kafka will start more slowly")


async def test_no_cache_of_classes_is_missed_where_there_is_no_java(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    said: list[str] = []
    await make_java_cache(replace(from_environment(), cache_dir=tmp_path), said.append)
    assert len(said) == 1
    assert "There is no Java runtime" in said[0]
