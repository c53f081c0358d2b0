"""Owns making hostile inputs from good ones, the same for the same seed.

Must not send anything.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from docs.described import services
from docs.tables import example
from shared.http.routes import Route
from tests.attacks.attacked_estate import LOGS
from tests.attacks.wire import request

_SERVICES: Final = services()
HOSTILE: Final[tuple[Any, ...]] = (
    *("", " ", "\x00", "\ud800", "\u202e\u2066", "\u200b\ufeff", "e\u0301", "\x1b[2J", "a\r\nb: c"),
    *("'; DROP SCHEMA log CASCADE; --", "' OR '1'='1", "$1", "%s%n", "${jndi:ldap://x}", "{{7*7}}"),
    *("../../etc/passwd", "<script>alert(1)</script>", "=cmd|' /C calc'!A0", "x" * 10_000),
    *(
        "\U0001d4b3" * 500,
        "\u0301" * 2_000,
        "0000-00-00T00:00:00Z",
        "9999-12-31T23:59:60Z",
        "-00:00",
    ),
    *(None, True, False, 0, -1, 1, 2**53, 2**63, 10**400, 1.5, [], {}, [[]], {"a": {"b": []}}),
    *([0] * 600, {str(n): n for n in range(200)}, "org_" + "0" * 32, "svc_" + "f" * 32, "a:b"),
)
_TOKENS: Final = (
    *(b"\x00", b"\xff", b"\r\n", b"\n", b'"', b"\\u0000", b"\\ud800", b"{", b"[" * 300, b"]"),
    *(b",", b":", b"NaN", b"1e999", b"9" * 5_000, b"%00", b"%", b"\xef\xbb\xbf", b"HTTP/1.1"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: x\r\n", b" ", b"\t"),
)
_HEADERS: Final = (
    *("Authorization", "Content-Type", "Content-Length", "Transfer-Encoding", "Expect", "Host"),
    *("If-Match", "Idempotency-Key", "X-Correlation-Id", "Last-Event-ID", "Content-Encoding"),
    *("Accept", "Connection", "Upgrade", "Cookie", "Range", "TE", "X-HTTP-Method-Override"),
)
_WORDS: Final = (
    *("true", "none", "all", "registry:1", "registry:0,dependencies:0", "2024-01-01", "1", "200"),
    *("2024-01-01T00:00:00Z", "registry@2:5", "*", "estate.*", "a" * 300, "=", "-1", "1e3", "%"),
)
_METHODS: Final = ("GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "G\x00T")


@dataclass(frozen=True, slots=True)
class Input:
    """One hostile input: bytes for the socket of a service, or the value of a Kafka record."""

    door: str
    service: str
    raw: bytes
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Mutator:
    """Makes inputs; the same seed and credentials give the same inputs."""

    def __init__(self, seed: int, keys: tuple[str | None, ...]) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret.
        self._keys = keys
        self._routes = [(one.name, route) for one in _SERVICES for route in one.routes]
        self._commands = [
            (one.name, command) for one in _SERVICES if one.name in LOGS for command in one.commands
        ]
        self._number = 0

    def next(self) -> Input:
        """One more input."""
        self._number += 1
        doors: tuple[Callable[[], Input], ...] = (
            *(self._bytes, self._head, self._command, self._submission, self._record),
        )
        return self._random.choices(doors, (2, 3, 3, 3, 2))[0]()

    def _bytes(self) -> Input:
        good = self._random.choice((self._head, self._command, self._submission))()
        return Input("bytes", good.service, self._bitten(good.raw))

    def _head(self) -> Input:
        service, route = self._random.choice(self._routes)
        method = self._mostly(route.method, _METHODS)
        path = self._path(route) + self._query(route)
        headers = {
            self._one(_HEADERS): self._text() for _ in range(self._random.choice((0, 0, 1, 3)))
        }
        line_breaks = "\r\n\x00"
        held = {n: v[:8000] for n, v in headers.items() if not set(v) & set(line_breaks)}
        return Input("head", service, request(method, path, key=self._key(), headers=held))

    def _command(self) -> Input:
        service, command = self._random.choice(self._commands)
        body = self._json(dict(command.example))
        path = command.path
        for name in ("service", "organisation", "dependency"):
            path = path.replace(f"{{{name}}}", quote(self._reference(), safe=":"))
        dry = self._mostly("", ("?dry_run=true", "?dry_run=maybe"))
        return Input("command", service, request("POST", path + dry, key=self._key(), body=body))

    def _submission(self) -> Input:
        service, command = self._random.choice(self._commands)
        event = {**example(command), "id": f"fuzz-{self._number}"}
        batch = [event] * self._random.choice((1, 2, 5)) if self._random.random() < 0.3 else event
        media = self._mostly("application/json", ("application/cloudevents+json", "text/plain"))
        raw = request(
            "POST",
            "/v1/submissions",
            key=self._key(),
            body=self._json(batch),
            headers={"Content-Type": media},
        )
        return Input("submission", service, raw)

    def _record(self) -> Input:
        service, command = self._random.choice(self._commands)
        value = self._json({**example(command), "id": f"fuzz-{self._number}"})
        headers = tuple((str(n), self._bitten(b"estate/registry")) for n in range(self._number % 3))
        return Input("record", service, value, self._mostly(None, (b"", b"\xff" * 50)), headers)

    def _json(self, tree: Any) -> bytes:
        for _ in range(self._random.choice((0, 1, 1, 2, 4))):
            tree = self._changed(tree)
        raw = json.dumps(tree, ensure_ascii=self._random.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
        return self._bitten(raw) if self._random.random() < 0.25 else raw

    def _changed(self, tree: Any) -> Any:
        if isinstance(tree, dict) and tree and self._random.random() < 0.8:
            name = self._one(tuple(tree))
            what = self._random.random()
            if what < 0.1:
                return {other: value for other, value in tree.items() if other != name}
            if what < 0.2:
                return {**tree, str(self._one(HOSTILE))[:300]: tree[name]}
            return {**tree, name: self._changed(tree[name])}
        if isinstance(tree, list) and tree and self._random.random() < 0.8:
            return [*tree[:-1], self._changed(tree[-1])]
        if self._random.random() < 0.05:
            return json.loads("[" * 400 + "]" * 400)
        return self._one(HOSTILE)

    def _bitten(self, raw: bytes) -> bytes:
        bitten = bytearray(raw)
        for _ in range(self._random.choice((1, 1, 2, 5))):
            at = self._random.randrange(len(bitten) + 1)
            match self._random.randrange(5):
                case 0:
                    bitten[at : at + 1] = bytes([self._random.randrange(256)])
                case 1:
                    bitten[at:at] = self._one(_TOKENS)
                case 2:
                    del bitten[at : at + self._random.choice((1, 5, 50))]
                case 3:
                    bitten[at:at] = bitten[at : at + 40] * self._random.choice((1, 20))
                case _:
                    del bitten[at + self._random.randrange(200) :]
        return bytes(bitten)

    def _path(self, route: Route) -> str:
        path = route.path
        for name in route.parameter_names():
            path = path.replace(f"{{{name}}}", quote(self._reference(), safe=":"))
        odd = ("/", "//", "/../..", "/%2e%2e", "/%00", ";", "%ff", "/é")
        return path + str(self._mostly("", odd))

    def _query(self, route: Route) -> str:
        known = tuple(route.query.model_fields) if route.query is not None else ()
        names = [self._mostly(self._one((*known, "x")), ("", "x", "limit", "a[b]"))]
        names += [self._one((*known, "y")) for _ in range(self._random.choice((0, 0, 1, 2, 60)))]
        safe = self._mostly("", ("=&%",))
        pairs = [f"{name}={quote(self._text(), safe=safe, errors='replace')}" for name in names]
        return "?" + "&".join(pairs) if self._random.random() < 0.7 else ""

    def _text(self) -> str:
        value = self._one(HOSTILE) if self._random.random() < 0.5 else self._one(_WORDS)
        return str(value)[: self._random.choice((50, 300, 9_000))]

    def _reference(self) -> str:
        return (
            str(self._mostly("fuzz:target", ("org-a", "my-department:service-1", *HOSTILE)))[:400]
            .encode("utf-8", "replace")
            .decode()
        )

    def _key(self) -> str | None:
        key: str | None = self._mostly(self._keys[0], self._keys)
        return key

    def _mostly(self, usual: Any, others: tuple[Any, ...]) -> Any:
        return usual if self._random.random() < 0.7 else self._one(others)

    def _one(self, choices: tuple[Any, ...]) -> Any:
        return self._random.choice(choices)
