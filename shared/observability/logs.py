"""Owns the log lines of a process: JSON on stderr, one record a line, secrets masked.

Must not hold personal data, and must not let a library flood it.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import BinaryIO, Final, Literal

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MASK: Final = "***"
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
_SECRET_NAMES = re.compile(
    r"authorization|cookie|password|passwd|secret|token|api_?key|dsn|credential(?!_id|id)",
    re.IGNORECASE,
)
_SECRETS: Final = re.compile(
    r"(?P<key>estate_[0-9a-f]{8}_)[A-Za-z0-9_-]{20,64}"
    r"|(?P<dsn>://[^:/@\s\"]{0,128}:)(?:[^\s\"\\]|\\.){1,512}@"
    r"|(?P<scheme>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|(?P<jwt>\beyJ)[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*"
    r"|(?P<webhook>\bwhsec_)[A-Za-z0-9+/=_-]{8,}"
    r"|(?P<pair>\b(?:password|passwd|secret|sasl_plain_password)\s*=\s*)[^\s\",;&]{1,256}",
    re.IGNORECASE,
)

_SIGNS: Final = (
    "estate_",
    "://",
    "bearer",
    "basic",
    "eyj",
    "whsec_",
    "password",
    "passwd",
    "secret",
)

NOISY_LOGGERS: Final = ("aiokafka",)
NOISE_PERIOD_S: Final = 60.0


def mask_secrets(text: str) -> str:
    """The text with every secret it may hold replaced; what names a credential stays."""
    lowered = text.lower()
    # Nearly every line holds none of these, and looking for them is ten times cheaper.
    if not any(sign in lowered for sign in _SIGNS):
        return text
    return _SECRETS.sub(_masked, text)


def _masked(match: re.Match[str]) -> str:
    kept = match[match.lastgroup] if match.lastgroup else ""
    return f"{kept}{MASK}@" if match.lastgroup == "dsn" else f"{kept}{MASK}"


def _mask_named(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name in event:
        if _names_a_secret(name):
            event[name] = MASK
    return event


@lru_cache(maxsize=1024)
def _names_a_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def _render(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    try:
        line = orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode("utf-8")
    except TypeError:
        # Lone surrogates and numbers beyond 64 bits: the slow way keeps the record.
        line = json.dumps(event, default=repr, skipkeys=True)
    return mask_secrets(line)


def _render_bytes(logger: WrappedLogger, method: str, event: EventDict) -> bytes:
    return _render(logger, method, event).encode("utf-8")


class NoiseFilter(logging.Filter):
    """Lets each message of a noisy library through once a minute, and counts the others."""

    def __init__(
        self,
        loggers: tuple[str, ...] = NOISY_LOGGERS,
        *,
        period_s: float = NOISE_PERIOD_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._loggers = loggers
        self._period_s = period_s
        self._monotonic = monotonic
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        if not record.name.startswith(self._loggers):
            return True
        now = self._monotonic()
        key = (record.name, str(record.msg)[:200])
        written_at, held_back = self._seen.get(key, (-self._period_s, 0))
        if now - written_at < self._period_s:
            self._seen[key] = (written_at, held_back + 1)
            return False
        if len(self._seen) > 1000:  # noqa: PLR2004 - bounds a table that should hold ten.
            self._seen.clear()
        self._seen[key] = (now, 0)
        record.held_back = held_back
        return True


def _add_held_back(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    held_back = getattr(record, "held_back", 0)
    if held_back:
        event["held_back"] = held_back
    return event


def _shared_processors(service: str) -> list[Processor]:
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=30)

    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        structlog.processors.ExceptionRenderer(tracebacks),
        _mask_named,
    ]


class _BytesHandler(logging.Handler):
    """Writes the records of the standard library as the same JSON lines."""

    def __init__(self, stream: BinaryIO, formatter: structlog.stdlib.ProcessorFormatter) -> None:
        super().__init__()
        self._stream = stream
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._stream.write(self.format(record).encode("utf-8", "backslashreplace") + b"\n")
            self._stream.flush()
        except Exception:  # noqa: BLE001 - a log line must not break what it tells of.
            self.handleError(record)


def configure_logging(service: str, level: Level = "INFO", stream: BinaryIO | None = None) -> None:
    """Send every log line of the process, ours and of libraries, to stderr as masked JSON.

    Call once, from bootstrap.
    """
    target = stream if stream is not None else sys.stderr.buffer
    number = logging.getLevelNamesMapping()[level]
    shared = _shared_processors(service)
    structlog.configure(
        processors=[*shared, _render_bytes],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(target),
        cache_logger_on_first_use=stream is None,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.add_logger_name,
            _add_held_back,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _render,
        ],
        foreign_pre_chain=shared,
    )
    handler = _BytesHandler(target, formatter)
    handler.addFilter(NoiseFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
