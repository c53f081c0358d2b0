"""Owns the OpenAPI 3.1 document of a service, made from its routes and nothing else.

Must not be written by hand anywhere: what is not in a route is not promised.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs
from pydantic import BaseModel, TypeAdapter

from shared.http.problems import PROBLEM_JSON, ProblemKind, problem_kind
from shared.http.routes import JSON, Access, Answer, Route

_REF = "#/components/schemas/{model}"
_MODES = {"in": "validation", "out": "serialization"}
Schema = dict[str, Any]

PROBLEM_SCHEMA: Schema = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. `type` is the address of a page that says what to do.",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "JSON pointer into the body, or `/name` of a parameter.",
                    },
                    "detail": {"type": "string"},
                },
            },
        },
        "correlation_id": {"type": "string"},
    },
}
_CORRELATION_PARAMETER: Schema = {
    "name": "X-Correlation-Id",
    "in": "header",
    "description": "Your own id for this exchange; returned, logged and kept with the events made. "
    "One that is not of 1 to 64 of `A-Za-z0-9._-` is passed over, and another is made.",
    "schema": {"type": "string"},
}
_ALWAYS_WITH_BODY = (
    "malformed-json",
    "invalid-request",
    "too-large",
    "too-slow",
    "unsupported-media-type",
    "content-encoding-refused",
)


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """What a service says of itself."""

    name: str
    title: str
    version: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class _Schemas:
    """Schemas by (operation and place), and the definitions they refer to."""

    by_key: Mapping[tuple[str, Any], Any]
    definitions: Mapping[str, Schema]

    def of(self, key: str, direction: str) -> Schema:
        schema: Schema = self.by_key[key, _MODES[direction]]
        return schema


def openapi_document(routes: Sequence[Route], info: ServiceInfo) -> Schema:
    """The document of these routes; the same routes give the same document."""
    schemas = _collect(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    components = {"Problem": PROBLEM_SCHEMA, **dict(sorted(schemas.definitions.items()))}
    return {
        "openapi": "3.1.0",
        "info": {"title": info.title, "version": info.version, "description": info.description},
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _collect(routes: Sequence[Route]) -> _Schemas:
    inputs: list[tuple[str, Any, TypeAdapter[Any]]] = []
    for route in routes:
        if route.body is not None:
            inputs.append((f"{route.operation_id} body", "validation", _adapter(route.body)))
        if route.query is not None:
            inputs.append((f"{route.operation_id} query", "validation", _adapter(route.query)))
        for status, answer in route.answers.items():
            model = _answer(answer).model
            if model is not None:
                key = f"{route.operation_id} {status}"
                inputs.append((key, "serialization", _adapter(model)))
    by_key, root = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    return _Schemas(by_key, root.get("$defs", {}))


def _adapter(model: type[BaseModel] | TypeAdapter[Any]) -> TypeAdapter[Any]:
    return model if isinstance(model, TypeAdapter) else TypeAdapter(model)


def _answer(answer: Answer | type[BaseModel]) -> Answer:
    return answer if isinstance(answer, Answer) else Answer("Done", answer)


def _operation(route: Route, schemas: _Schemas) -> Schema:
    operation: Schema = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "tags": [route.tag],
        "x-allow": allowed_names(route),
        "security": _security(route),
        "parameters": _parameters(route, schemas),
        "responses": _responses(route, schemas),
    }
    if route.description:
        operation["description"] = route.description
    if route.body is not None:
        operation["requestBody"] = _request_body(route, schemas)
    return operation


def allowed_names(route: Route) -> list[str]:
    """Who may call, as words: the roles, or `anyone`, or `authenticated`."""
    if isinstance(route.allow, Access):
        return [route.allow.value]
    return sorted(role.value for role in route.allow)


def _security(route: Route) -> list[dict[str, list[str]]]:
    if not route.authenticate:
        return []
    needs_none = route.allow in {Access.ANYONE, Access.PUBLIC_OR_AUTHENTICATED}
    return [{}, {"bearer": []}] if needs_none else [{"bearer": []}]


def _parameters(route: Route, schemas: _Schemas) -> list[Schema]:
    parameters = [_path_parameter(route, name) for name in route.parameter_names()]
    parameters += _query_parameters(route, schemas)
    if route.is_command:
        parameters.append(_idempotency_parameter(route))
    if route.takes_if_match:
        parameters.append(_if_match_parameter())
    return [*parameters, _CORRELATION_PARAMETER]


def _path_parameter(route: Route, name: str) -> Schema:
    pattern = f"^(?:{route.parameter_pattern(name)})$"
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": pattern},
    }


def _query_parameters(route: Route, schemas: _Schemas) -> list[Schema]:
    if route.query is None:
        return []
    schema = schemas.of(f"{route.operation_id} query", "in")
    if "$ref" in schema:
        schema = schemas.definitions[schema["$ref"].rpartition("/")[2]]
    required = set(schema.get("required", ()))
    return [
        _query_parameter(name, dict(member), required=name in required)
        for name, member in schema.get("properties", {}).items()
    ]


def _query_parameter(name: str, member: Schema, *, required: bool) -> Schema:
    choices = [choice for choice in member.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        # A parameter that is left out is null inside; nobody can send null in a query.
        member = dict(choices[0])
    description = member.pop("description", None)
    member.pop("title", None)
    parameter: Schema = {"name": name, "in": "query", "required": required, "schema": member}
    if description:
        parameter["description"] = description
    return parameter


def _idempotency_parameter(route: Route) -> Schema:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": route.requires_idempotency_key,
        "description": "Stands for this one command of yours: sent again, it is not done again.",
        "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,200}$"},
    }


def _if_match_parameter() -> Schema:
    return {
        "name": hdrs.IF_MATCH,
        "in": "header",
        "description": 'The ETag of the version you have seen, such as `"7"`.',
        "schema": {"type": "string", "pattern": '^"(0|[1-9][0-9]{0,17})"$'},
    }


def _request_body(route: Route, schemas: _Schemas) -> Schema:
    content: Schema = {"schema": schemas.of(f"{route.operation_id} body", "in")}
    if route.examples:
        content["examples"] = {name: {"value": value} for name, value in route.examples.items()}
    return {
        "required": route.body_required,
        "content": dict.fromkeys(route.media_types, content),
    }


def _responses(route: Route, schemas: _Schemas) -> Schema:
    responses: Schema = {}
    for status, entry in route.answers.items():
        answer = _answer(entry)
        response: Schema = {"description": answer.description}
        if answer.model is not None:
            content: Schema = {"schema": schemas.of(f"{route.operation_id} {status}", "out")}
            if answer.example is not None:
                content["examples"] = {"example": {"value": answer.example}}
            response["content"] = {JSON: content}
        if answer.content_type != JSON:
            text = {answer.content_type: {"schema": {"type": "string"}}}
            response["content"] = text | response.get("content", {})
        responses[str(status)] = response
    if not responses:
        responses["200"] = {"description": "Done"}
    responses.update(_problem_responses(route))
    return responses


def problem_slugs(route: Route) -> list[str]:
    """Every problem the route may answer with: its own, and those of what it takes."""
    slugs = list(route.problems)
    if route.authenticate:
        slugs.append("unauthenticated")
    if isinstance(route.allow, frozenset):
        slugs.append("forbidden")
    if route.parameter_names():
        slugs.append("not-found")
    if route.query is not None:
        slugs.append("bad-query")
    if route.is_command:
        slugs.append("bad-request")
    if route.takes_if_match:
        slugs.append("stale-version")
    if route.body is not None:
        slugs.extend(_ALWAYS_WITH_BODY)
    return list(dict.fromkeys(slugs))


def _problem_responses(route: Route) -> Schema:
    by_status: dict[int, list[ProblemKind]] = {}
    for slug in problem_slugs(route):
        kind = problem_kind(slug)
        by_status.setdefault(kind.status, []).append(kind)
    return {str(status): _problem_response(kinds) for status, kinds in sorted(by_status.items())}


def _problem_response(kinds: Sequence[ProblemKind]) -> Schema:
    examples = {
        kind.slug: {"value": {"type": kind.type, "title": kind.title, "status": kind.status}}
        for kind in kinds
    }
    phrase = HTTPStatus(kinds[0].status).phrase
    return {
        "description": f"{phrase}: " + "; ".join(f"`{kind.slug}`" for kind in kinds),
        "content": {
            PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}
        },
    }
