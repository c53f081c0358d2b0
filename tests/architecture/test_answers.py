"""Owns the check that the documents describe every answer of JSON, with an example that fits.

Must not ask a service: that real answers fit is held elsewhere.
"""

from collections.abc import Iterator
from typing import Any, Final

import orjson
import pytest
from jsonschema_rs import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from docs.described import Described, services
from shared.http.openapi import ServiceInfo, openapi_document
from shared.http.routes import JSON


def served(service: Described) -> dict[str, Any]:
    """The document of a service, as it is read by whoever asks for it."""
    info = ServiceInfo(service.name, service.name, "1")
    document: dict[str, Any] = orjson.loads(orjson.dumps(openapi_document(service.routes, info)))
    return document


DOCUMENTS: Final = {service.name: served(service) for service in services()}


def answers() -> Iterator[Any]:
    """Every successful answer, as (document, answer)."""
    for name, document in DOCUMENTS.items():
        for path, item in document["paths"].items():
            for method, operation in item.items():
                for status, answer in operation["responses"].items():
                    if status.startswith("2"):
                        place = f"{name} {method} {path} {status}"
                        yield pytest.param(document, answer, id=place)


@pytest.mark.parametrize(("document", "answer"), [*answers()])
def test_every_answer_has_a_schema_and_json_an_example_that_fits(
    document: dict[str, Any], answer: dict[str, Any]
) -> None:
    assert answer["content"]
    for media_type, content in answer["content"].items():
        assert content["schema"]
        if media_type == JSON:
            schema = {**content["schema"], "components": document["components"]}
            (example,) = content["examples"].values()
            Draft202012Validator(schema).validate(example["value"])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_is_valid(name: str) -> None:
    OpenAPIV31SpecValidator(DOCUMENTS[name]).validate()
