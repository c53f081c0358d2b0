"""Owns holding what a service answers against the document that it serves.

Must not know an operation: the document does.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from jsonschema_rs import Draft202012Validator

from shared.http.routes import JSON

_PARAMETER: Final = re.compile(r"\\\{[a-z_]+\\\}")


class Document:
    """The OpenAPI document of one service."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._validators = list(self._every_answer())

    def check(self, method: str, path: str, status: int, answer: Any) -> None:
        """Hold a successful answer of JSON against its schema.

        Raises: AssertionError when the document says nothing of it, or something else.
        """
        found = [
            validator
            for pattern, *key, validator in self._validators
            if key == [method.lower(), str(status)] and pattern.fullmatch(path)
        ]
        assert found, f"{method} {path} may not answer {status} with JSON"
        faults = [str(error) for error in found[0].iter_errors(answer)]
        assert not faults, (method, path, faults)

    def _every_answer(self) -> Iterator[tuple[re.Pattern[str], str, str, Draft202012Validator]]:
        paths = self._document["paths"]
        for path in sorted(paths, key=lambda one: "{" in one):
            pattern = re.compile(_PARAMETER.sub("[^/]+", re.escape(path)))
            for method, operation in paths[path].items():
                for status, answer in operation["responses"].items():
                    content = answer.get("content", {}).get(JSON)
                    if content is not None:
                        components = {"components": self._document["components"]}
                        validator = Draft202012Validator({**content["schema"], **components})
                        yield pattern, method, status, validator
