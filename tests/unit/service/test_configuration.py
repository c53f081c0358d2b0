import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.compose.config import from_environment as read_provisioning
from deploy.local.config import from_environment as read_launcher
from services.dependencies.config import DependenciesOwnerSettings, DependenciesSettings
from services.notifications.config import NotificationsOwnerSettings, NotificationsSettings
from services.registry.config import RegistryOwnerSettings, RegistrySettings
from shared.configuration.reading import WrongSettingsError
from shared.service.config import (
    OwnerSettings,
    ServiceSettings,
    read_owner_dsn,
    read_service,
)

ROOT = Path(__file__).parents[3]
CANARY = "canary-7d1f"
SASL = {
    "ESTATE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "ESTATE_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "ESTATE_KAFKA_USERNAME": "registry",
    "ESTATE_KAFKA_PASSWORD": CANARY,
}
JWT = {"ESTATE_JWT_ISSUER": "https://issuer.example", "ESTATE_JWT_AUDIENCE": "estate"}
JWKS_URL = {"ESTATE_JWKS_URL": "https://issuer.example/jwks.json"}


@dataclass(frozen=True)
class Service:
    name: str
    own: type[ServiceSettings]
    owner: type[OwnerSettings]

    def variable(self, name: str) -> str:
        return f"{self.name.upper()}_{name}"


SERVICES = (
    Service("registry", RegistrySettings, RegistryOwnerSettings),
    Service("dependencies", DependenciesSettings, DependenciesOwnerSettings),
    Service("notifications", NotificationsSettings, NotificationsOwnerSettings),
)
REGISTRY = SERVICES[0]
each_service = pytest.mark.parametrize("service", SERVICES, ids=lambda one: one.name)


def complete(service: Service) -> dict[str, str]:
    return {
        service.variable("DATABASE_DSN"): f"postgresql://app:{CANARY}@127.0.0.1:9/registry",
        service.variable("HTTP_PORT"): "0",
        "ESTATE_KAFKA_BOOTSTRAP": "127.0.0.1:9",
        "ESTATE_KEYS_FILE": "/nowhere/keys.json",
        "ESTATE_CURSOR_SECRET": f"{CANARY}-and-so-on",
    }


def wrong(service: Service) -> dict[str, str]:
    """A fault in every setting that can have one; nothing given tells its value."""
    return {
        service.variable("DATABASE_DSN"): CANARY,
        service.variable("HTTP_PORT"): "99999",
        "ESTATE_KAFKA_BOOTSTRAP": f"{CANARY}-without-port",
        "ESTATE_KAFKA_SECURITY_PROTOCOL": CANARY,
        "ESTATE_KAFKA_SASL_MECHANISM": CANARY,
        "ESTATE_KEYS_FILE": "",
        "ESTATE_CURSOR_SECRET": "canary-7d1f",
        "ESTATE_JWT_ISSUER": "https://issuer.example",
        "ESTATE_JWKS_URL": f"ftp://{CANARY}",
        "ESTATE_JWKS_FILE": f"/nonexistent/{CANARY}",
        "ESTATE_PUBLIC_READS": CANARY,
        "ESTATE_LOG_LEVEL": CANARY,
        "ESTATE_FAILPOINTS": f"{CANARY}:1",
    }


def named_as_wrong(service: Service) -> set[str]:
    """Every wrong setting, the one that is empty, and the one that the issuer needs."""
    return {*(wrong(service).keys() - {"ESTATE_JWT_ISSUER"}), "ESTATE_JWT_AUDIENCE"}


def faults(service: Service, given: Mapping[str, str], secrets: Path = Path("/none")) -> list[str]:
    try:
        read_service(service.own, given, secrets)
    except WrongSettingsError as error:
        return list(error.faults)
    return []


def names(found: Sequence[str]) -> list[str]:
    return [fault.partition(":")[0] for fault in found]


@contextmanager
def somebody_else() -> Iterator[None]:
    """Without the administrator's right to read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@each_service
def test_a_complete_configuration_is_read(service: Service) -> None:
    own, estate = read_service(service.own, complete(service), Path("/none"))
    assert own.database_dsn.get_secret_value().endswith("/registry")
    assert (own.http_port, estate.log_level, estate.kafka().bootstrap) == (0, "INFO", "127.0.0.1:9")


@each_service
def test_every_fault_of_every_setting_is_named_at_once(service: Service) -> None:
    found = faults(service, wrong(service))
    assert sorted(names(found)) == sorted(named_as_wrong(service))
    assert CANARY not in str(found)


@each_service
def test_what_is_missing_is_named_at_once(service: Service) -> None:
    needed = complete(service).keys() - {service.variable("HTTP_PORT")}
    assert set(names(faults(service, {}))) == needed


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(
            ("REGISTRY_DATABASE_DSN", dsn)
            for dsn in (
                "mysql://app:canary-7d1f@db/registry",
                "postgresql://app:canary-7d1f@db",
                "postgresql:///registry",
                "postgresql://app:canary-7d1f@db:port/registry",
                "postgresql://app:canary-7d1f@db:0/registry",
                "postgresql://app:canary-7d1f@one,two:x/registry",
                "postgresql://app:canary@7d1f@db/registry",
                "postgresql://app:canary-7d1f@db/registry?sslmode=perhaps",
                "postgresql://[canary-7d1f/registry",
                "postgresql://app:canary-7d1f@db/registry?strange",
            )
        ),
        *(
            ("ESTATE_KAFKA_BOOTSTRAP", addresses)
            for addresses in ("kafka:0", "kafka:65536", "kafka:9092,", "one:9092,two", "a b:1")
        ),
        ("ESTATE_LOG_LEVEL", "NOTSET"),
        ("ESTATE_FAILPOINTS", "a:b"),
        ("ESTATE_FAILPOINTS", "relay.sent:0"),
        ("ESTATE_FAILPOINTS", "relay.sent:-1"),
        ("ESTATE_FAILPOINTS", "relay.sent:x"),
        ("ESTATE_FAILPOINTS", "relay.sent,nosuchpoint"),
        ("ESTATE_KEYS_FILE", "/"),
        ("ESTATE_KEYS_FILE", "/dev/null/keys.json"),
        ("REGISTRY_HTTP_HOST", "not a host!"),
        ("REGISTRY_HTTP_HOST", "[::1]"),
        ("REGISTRY_HTTP_HOST", "http://here"),
        ("REGISTRY_HTTP_PORT", "-1"),
        ("REGISTRY_HTTP_PORT", "http"),
        ("ESTATE_CURSOR_SECRET", "\udcff" * 16),
    ],
)
def test_a_setting_of_the_wrong_form_is_named(variable: str, value: str) -> None:
    found = faults(REGISTRY, {**complete(REGISTRY), variable: value})
    assert names(found) == [variable]
    assert "canary" not in str(found)


@pytest.mark.parametrize(
    "given",
    [
        {"REGISTRY_DATABASE_DSN": "postgres://app@one,two:5433/registry?target_session_attrs=any"},
        {"REGISTRY_DATABASE_DSN": "postgresql:///registry?host=/run/postgresql"},
        {"REGISTRY_DATABASE_DSN": "postgresql://app:p%40ss@[::1]:5432/a?sslmode=verify-full"},
        {"ESTATE_KAFKA_BOOTSTRAP": "one.example:9092, [::1]:9093"},
        *(
            {"REGISTRY_HTTP_HOST": host}
            for host in ("::", "10.0.0.1", "fe80::1%eth0", "app-1.example")
        ),
        {"ESTATE_LOG_LEVEL": "debug"},
        {"ESTATE_FAILPOINTS": "relay.sent:2,append.decided"},
        {"ESTATE_KEYS_FILE": __file__},
        {**JWT, **JWKS_URL},
        {**JWT, "ESTATE_JWKS_FILE": __file__},
        SASL,
    ],
)
def test_a_setting_of_the_right_form_is_taken(given: Mapping[str, str]) -> None:
    assert faults(REGISTRY, {**complete(REGISTRY), **given}) == []


@pytest.mark.parametrize("left_out", list(SASL)[1:])
def test_sasl_needs_each_of_its_settings(left_out: str) -> None:
    given = {**complete(REGISTRY), **SASL, left_out: ""}
    assert names(faults(REGISTRY, given)) == [left_out]


def test_credentials_for_kafka_are_not_left_unused() -> None:
    given = {**complete(REGISTRY), **SASL, "ESTATE_KAFKA_SECURITY_PROTOCOL": "SSL"}
    assert names(faults(REGISTRY, given)) == list(SASL)[1:]


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"ESTATE_JWT_ISSUER": "a"}, ["ESTATE_JWT_AUDIENCE", "ESTATE_JWKS_FILE"]),
        ({"ESTATE_JWT_AUDIENCE": "a"}, ["ESTATE_JWT_AUDIENCE"]),
        (JWT, ["ESTATE_JWKS_FILE"]),
        (JWKS_URL, ["ESTATE_JWKS_URL"]),
        ({"ESTATE_JWKS_FILE": __file__}, ["ESTATE_JWKS_FILE"]),
    ],
)
def test_tokens_need_issuer_audience_and_keys(given: Mapping[str, str], wrong: list[str]) -> None:
    assert names(faults(REGISTRY, {**complete(REGISTRY), **given})) == wrong


@each_service
def test_settings_are_read_from_secrets_files(service: Service, tmp_path: Path) -> None:
    for variable, value in complete(service).items():
        (tmp_path / variable.lower()).write_text(f"{value}\n")
    (tmp_path / "estate_log_level").write_text("")
    own, estate = read_service(service.own, {"ESTATE_KAFKA_BOOTSTRAP": "other:9"}, tmp_path)
    assert own.database_dsn.get_secret_value().endswith("/registry")
    assert (estate.kafka_bootstrap, estate.log_level) == ("other:9", "INFO")


@each_service
def test_every_fault_of_secrets_files_is_named_at_once(service: Service, tmp_path: Path) -> None:
    dsn, port = (service.variable(name) for name in ("DATABASE_DSN", "HTTP_PORT"))
    (tmp_path / dsn.lower()).write_bytes(b"postgresql://app:\xff@db/registry")
    (tmp_path / "estate_cursor_secret").symlink_to(tmp_path / "nowhere")
    (tmp_path / "estate_kafka_password").mkdir()
    os.mkfifo(tmp_path / "estate_jwt_issuer")
    (tmp_path / "estate_log_level").write_text(CANARY)
    given = {"ESTATE_KEYS_FILE": "keys.json", port: "99999", "ESTATE_JWT_AUDIENCE": "estate"}
    absent, level = "No such file or directory", "'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'"
    found = faults(service, given, tmp_path)
    assert sorted(found) == sorted(
        [
            f"{dsn} in {tmp_path / dsn.lower()}: is not UTF-8",
            f"{port}: Input should be less than or equal to 65535",
            "ESTATE_KAFKA_BOOTSTRAP: Field required",
            f"ESTATE_KAFKA_PASSWORD in {tmp_path}/estate_kafka_password: is not a file",
            f"ESTATE_CURSOR_SECRET in {tmp_path}/estate_cursor_secret: cannot be read: {absent}",
            f"ESTATE_JWT_ISSUER in {tmp_path}/estate_jwt_issuer: is not a file",
            f"ESTATE_LOG_LEVEL in {tmp_path}/estate_log_level: Input should be {level}",
        ]
    )


def test_a_secrets_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "registry_owner_dsn"
    path.write_text(CANARY)
    path.chmod(0)
    with somebody_else(), pytest.raises(WrongSettingsError, match="Permission denied") as caught:
        read_owner_dsn(RegistryOwnerSettings, {}, tmp_path)
    assert names(caught.value.faults) == [f"REGISTRY_OWNER_DSN in {path}"]


def run(*arguments: str, given: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - our own commands.
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def refused(ended: "subprocess.CompletedProcess[str]") -> list[str]:
    assert ended.returncode == 2, ended.stderr
    assert CANARY not in ended.stdout + ended.stderr
    first, *found, last = ended.stderr.splitlines()
    assert first == "The configuration is wrong:"
    assert last == "See docs/configuration.md."
    return [fault.strip() for fault in found]


@each_service
def test_a_service_ends_at_once_when_its_configuration_is_wrong(service: Service) -> None:
    found = refused(run(f"services.{service.name}", "serve", given=wrong(service)))
    assert sorted(names(found)) == sorted(named_as_wrong(service))


def test_migrating_ends_at_once_when_the_configuration_is_wrong() -> None:
    found = refused(run("services.registry", "migrate", given={"REGISTRY_OWNER_DSN": CANARY}))
    assert names(found) == ["REGISTRY_OWNER_DSN"]


def test_migrating_a_database_that_is_away_is_told_without_a_traceback() -> None:
    dsn = f"postgresql://owner:{CANARY}@127.0.0.1:9/registry"
    ended = run("services.registry", "migrate", given={"REGISTRY_OWNER_DSN": dsn})
    assert ended.returncode == 1
    assert "not_migrated" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert CANARY not in ended.stderr


def test_an_address_that_cannot_be_listened_on_is_told_in_a_sentence() -> None:
    host = {"REGISTRY_HTTP_HOST": "not.an.address.invalid"}
    given = {**complete(REGISTRY), **host, "ESTATE_LOG_LEVEL": "CRITICAL"}
    (fault,) = refused(run("services.registry", "serve", given=given))
    assert fault.startswith("REGISTRY_HTTP_HOST, REGISTRY_HTTP_PORT: cannot listen on")


PASSWORDS = {
    f"{service.name.upper()}_{role}_PASSWORD": f"{CANARY}-{role}"
    for service in SERVICES
    for role in ("OWNER", "APP")
}


def test_provisioning_ends_at_once_when_its_configuration_is_wrong() -> None:
    given = {"ESTATE_ADMIN_DSN": CANARY, "ESTATE_KEYS_FILE": "/", **PASSWORDS}
    found = refused(run("deploy.compose.provision", given={**given, "REGISTRY_APP_PASSWORD": ""}))
    assert names(found) == ["ESTATE_ADMIN_DSN", "ESTATE_KEYS_FILE", "REGISTRY_APP_PASSWORD"]


def test_provisioning_reads_secrets_files(tmp_path: Path) -> None:
    for variable, value in PASSWORDS.items():
        (tmp_path / variable.lower()).write_text(value)
    given = {"ESTATE_ADMIN_DSN": "postgresql://admin@db/postgres", "ESTATE_KEYS_FILE": "keys.json"}
    passwords = read_provisioning(given, tmp_path).passwords()
    assert passwords == {one.name: (f"{CANARY}-OWNER", f"{CANARY}-APP") for one in SERVICES}


def test_provisioning_a_server_that_is_away_is_told_without_a_traceback() -> None:
    dsn = f"postgresql://admin:{CANARY}@127.0.0.1:9/postgres"
    given = {"ESTATE_ADMIN_DSN": dsn, "ESTATE_KEYS_FILE": "keys.json", **PASSWORDS}
    ended = run("deploy.compose.provision", given=given)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Not provisioned: ConnectionRefusedError")
    assert CANARY not in ended.stderr


def test_every_fault_of_a_local_run_s_servers_is_named_at_once() -> None:
    given = {
        "ESTATE_POSTGRES_DSN": CANARY,
        "ESTATE_KAFKA_BOOTSTRAP": "abc",
        "ESTATE_MAVEN_REPOSITORY": "here",
    }
    with pytest.raises(WrongSettingsError) as caught:
        read_launcher(given)
    assert sorted(names(caught.value.faults)) == sorted(given)
