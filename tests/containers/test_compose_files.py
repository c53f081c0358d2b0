"""What can be said of the compose files without running them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.compose.config import from_environment
from deploy.compose.make_env import main
from deploy.compose.names import secrets_needed
from shared.configuration.reading import WrongSettingsError
from tests.containers.compose_estate import ROOT
from tests.containers.servers import KAFKA_IMAGE, POSTGRES_IMAGE


def _values(path: Path) -> dict[str, str]:
    lines = (line for line in path.read_text().splitlines() if not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def test_secrets_are_random_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    assert main([str(tmp_path / "one")]) == 0
    assert main([str(tmp_path / "two")]) == 0

    one, two = _values(tmp_path / "one"), _values(tmp_path / "two")
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600
    assert set(one) == set(secrets_needed())
    assert len({*one.values(), *two.values()}) == 2 * len(one)
    assert all(re.fullmatch("[0-9a-f]{48}", value) for value in one.values())


def test_secrets_that_are_there_stay_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ".env"
    path.write_text("made before")

    assert main([str(path)]) == 1
    assert path.read_text() == "made before"
    assert "stays as it is" in capsys.readouterr().err


def test_secrets_are_made_before_anything_is_installed(tmp_path: Path) -> None:
    script = ROOT / "deploy" / "compose" / "make_env.py"
    path = tmp_path / ".env"
    command = [sys.executable, "-I", "-S", str(script), str(path)]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)  # noqa: S603 - ours.

    assert path.exists()


def test_compose_file_asks_for_every_secret_and_no_other() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    optional = set(re.findall(r"\$\{([A-Z_]+):-", text))

    assert asked == set(secrets_needed())
    assert set(re.findall(r"\$\{([A-Z_]+)", text)) == asked | optional
    assert not [name for name in optional if "PASSWORD" in name or "SECRET" in name]


def test_tests_run_on_the_images_of_the_compose_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    images = set(re.findall(r"^    image: (\S+)$", text, re.MULTILINE))

    assert images == {POSTGRES_IMAGE, KAFKA_IMAGE}


def test_provisioning_names_everything_that_is_missing() -> None:
    with pytest.raises(WrongSettingsError, match=r"ESTATE_ADMIN_DSN.*NOTIFICATIONS_APP_PASSWORD"):
        from_environment({"ESTATE_KEYS_FILE": "keys.json"})
