"""Log lines: JSON, one record a line, no secret, no flood."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from shared.observability.logs import NoiseFilter, configure_logging, mask_secrets

CANARY = "canary7f3aCANARY7f3aCANARY7f3aCANARY7f3aCANA"


@pytest.fixture
def stream() -> Iterator[io.BytesIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    noisy = logging.getLogger("aiokafka")
    noisy_level = noisy.level
    raw = io.BytesIO()
    configure_logging("sample", "INFO", raw)
    yield raw
    noisy.setLevel(noisy_level)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_our_lines_and_those_of_libraries_have_one_form(stream: io.BytesIO) -> None:
    structlog.get_logger("x").info("thing_happened", position=7)
    logging.getLogger("library").warning("odd %s", "thing")
    ours, theirs = lines(stream)
    assert ours["event"] == "thing_happened"
    assert ours["position"] == 7
    assert theirs["event"] == "odd thing"
    assert theirs["logger"] == "library"
    for line in (ours, theirs):
        assert line["service"] == "sample"
        assert line["level"] in {"info", "warning"}
        assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    "text",
    [
        f"estate_0123abcd_{CANARY[:43]}",
        f"postgresql://writer:{CANARY}@db:5432/registry",
        f"postgresql://writer:p@ss{CANARY}@db/registry",
        f"Authorization: Bearer {CANARY}",
        f"Basic {CANARY}",
        f"bearer {CANARY}",
        f"eyJhbGciOiJSUzI1NiJ9.{CANARY}.{CANARY}",
        f"host=db password={CANARY} user=x",
        f"whsec_{CANARY}",
        f"https://user:{CANARY}@hooks.example/x",
    ],
)
def test_a_secret_is_masked_wherever_it_stands(stream: io.BytesIO, text: str) -> None:
    log = structlog.get_logger("x")
    log.warning("event", value=text, nested={"list": [text]})
    logging.getLogger("library").error("failed: %s", text)
    try:
        int(text)
    except ValueError:
        log.exception("crashed")
        logging.getLogger("library").exception("crashed too")
    assert len(lines(stream)) == 4
    assert CANARY[:20] not in stream.getvalue().decode()
    assert CANARY[:20] not in mask_secrets(text)


@pytest.mark.parametrize(
    "name", ["authorization", "Cookie", "password", "client_secret", "api_key", "dsn", "token"]
)
def test_a_field_that_names_a_secret_is_masked(stream: io.BytesIO, name: str) -> None:
    structlog.get_logger("x").info("event", **{name: CANARY})
    assert lines(stream)[0][name] == "***"


def test_what_names_a_credential_stays(stream: io.BytesIO) -> None:
    structlog.get_logger("x").info("event", credential_id="key_1", idempotency_key="k-1")
    assert lines(stream)[0]["credential_id"] == "key_1"
    assert mask_secrets("estate_0123abcd_" + CANARY[:43]) == "estate_0123abcd_***"


def test_hostile_text_stays_in_its_line(
    stream: io.BytesIO, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What pytest captures it sends to its main process, which such text does not survive.
    root, capturing = logging.getLogger(), type(caplog.handler)
    ours = [one for one in root.handlers if not isinstance(one, capturing)]
    monkeypatch.setattr(root, "handlers", ours)
    hostile = 'a\r\n{"event":"forged"}\x1b[31m\u2028\ud800"'
    structlog.get_logger("x").info("event", value=hostile, nested=[hostile])
    logging.getLogger("library").warning(hostile)
    assert len(stream.getvalue().splitlines()) == 2
    assert b"\x1b" not in stream.getvalue()
    assert all(line["event"] != "forged" for line in lines(stream))


def test_lines_below_the_level_are_not_written(stream: io.BytesIO) -> None:
    structlog.get_logger("x").debug("quiet")
    logging.getLogger("library").debug("quiet")
    assert stream.getvalue() == b""


def test_a_noisy_library_is_heard_once_a_minute_with_a_count() -> None:
    now = [0.0]
    noise = NoiseFilter(monotonic=lambda: now[0])

    def record(name: str, message: str) -> logging.LogRecord:
        return logging.LogRecord(name, logging.ERROR, "", 0, message, (), None)

    assert noise.filter(record("aiokafka.conn", "cannot connect to %s"))
    assert not any(noise.filter(record("aiokafka.conn", "cannot connect to %s")) for _ in range(99))
    assert noise.filter(record("aiokafka.conn", "another"))
    assert noise.filter(record("ours", "same"))
    assert noise.filter(record("ours", "same"))
    now[0] = 60.0
    later = record("aiokafka.conn", "cannot connect to %s")
    assert noise.filter(later)
    assert vars(later)["held_back"] == 99


def test_held_back_lines_are_counted_in_the_next(
    stream: io.BytesIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = logging.getLogger().handlers[0]
    now = [0.0]
    monkeypatch.setattr(handler, "filters", [NoiseFilter(monotonic=lambda: now[0])])
    for _ in range(5):
        logging.getLogger("aiokafka").error("down")
    now[0] = 61.0
    logging.getLogger("aiokafka").error("down")
    assert [line.get("held_back") for line in lines(stream)] == [None, 4]
