"""Owns reading headers, query and body of a request within bounds, as the route declares them.

Must not decide who may call, and must not repeat input in a refusal.
"""

import asyncio
import re
from typing import Any, Final, get_args
from urllib.parse import unquote_to_bytes

from aiohttp import hdrs, web
from multidict import CIMultiDictProxy
from pydantic import BaseModel, TypeAdapter, ValidationError

from shared.http.faults import MAX_FAULTS, faults_of
from shared.http.problems import (
    BAD_QUERY,
    BAD_REQUEST,
    CONTENT_ENCODING_REFUSED,
    INVALID_REQUEST,
    MALFORMED_JSON,
    TOO_LARGE,
    TOO_SLOW,
    UNSUPPORTED_MEDIA_TYPE,
    Fault,
    Problem,
    ProblemKind,
)
from shared.http.routes import Route
from shared.http.strict_json import BadJson, BadText, parse_json, pointer_token

BODY_DEADLINE_S = 10.0
MAX_QUERY_PARAMETERS = 50

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_ETAG = re.compile(r'"(0|[1-9][0-9]{0,17})"')
_CHARSET_UTF8 = re.compile(r'\s*charset\s*=\s*"?utf-8"?\s*', re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Adapter = type[BaseModel] | TypeAdapter[Any]


def read_idempotency_key(headers: CIMultiDictProxy[str], *, required: bool) -> str | None:
    """The Idempotency-Key, 1 to 200 printable ASCII characters. Raises: Problem `bad-request`."""
    values = headers.getall("Idempotency-Key", ())
    if not values and not required:
        return None
    if len(values) != 1 or not _KEY.fullmatch(values[0]):
        detail = "Idempotency-Key must be given once, as 1 to 200 printable ASCII characters."
        raise Problem(BAD_REQUEST, detail)
    return values[0]


def read_if_match(headers: CIMultiDictProxy[str]) -> int | None:
    """The version in a strong If-Match ETag such as `"7"`. Raises: Problem `bad-request`."""
    values = headers.getall(hdrs.IF_MATCH, ())
    if not values:
        return None
    match = _ETAG.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        raise Problem(BAD_REQUEST, 'If-Match must be given once, as one strong ETag such as "7".')
    return int(match[1])


def read_query(raw_query: str) -> dict[str, str]:
    """The parameters, each at most once, decoded strictly. Raises: Problem `bad-query`."""
    parameters: dict[str, str] = {}
    if not raw_query:
        return parameters
    parts = raw_query.split("&", MAX_QUERY_PARAMETERS)
    if len(parts) > MAX_QUERY_PARAMETERS:
        raise Problem(BAD_QUERY, f"More than {MAX_QUERY_PARAMETERS} parameters.")
    for part in parts:
        name, _, value = part.partition("=")
        name, value = _query_text(name), _query_text(value)
        if name in parameters:
            raise Problem(BAD_QUERY, errors=[Fault(_parameter(name), "is given more than once")])
        parameters[name] = value
    return parameters


def _query_text(raw: str) -> str:
    try:
        text = unquote_to_bytes(raw.replace("+", " ")).decode("utf-8") if not raw.isalnum() else raw
    except UnicodeError:
        raise Problem(BAD_QUERY, "The query is not UTF-8.") from None
    if _CONTROL.search(text):
        raise Problem(BAD_QUERY, "The query holds a control character.")
    return text


def _parameter(name: str) -> str:
    return f"/{pointer_token(name)}"


# One way to write each: pydantic would take `yes` and `1.0` too.
_FORMS: Final[dict[type, tuple[re.Pattern[str], str]]] = {
    bool: (re.compile("true|false"), "is neither true nor false"),
    int: (re.compile("-?[0-9]+", re.ASCII), "is not a whole number"),
}


class QueryReader:
    """Reads the query into the model of a route; a route without one takes no parameter."""

    def __init__(self, model: type[BaseModel] | None) -> None:
        self._model = model
        fields = model.model_fields if model is not None else {}
        self._names = frozenset(f.alias or name for name, f in fields.items())
        self._forms = {
            f.alias or name: form
            for name, f in fields.items()
            for kind, form in _FORMS.items()
            if kind in (get_args(f.annotation) or (f.annotation,))
        }
        self._default = self._read_default()

    def _read_default(self) -> BaseModel | None:
        try:
            return None if self._model is None else self._model.model_validate_strings({})
        except ValidationError:
            return None

    def read(self, raw_query: str) -> BaseModel | None:
        """An instance of the model. Raises: Problem `bad-query`."""
        if not raw_query and (self._model is None or self._default is not None):
            return self._default
        parameters = read_query(raw_query)
        unknown = [name for name in parameters if name not in self._names]
        if unknown:
            faults = [Fault(_parameter(name), "is not a parameter here") for name in unknown]
            raise Problem(BAD_QUERY, errors=faults[:MAX_FAULTS])
        if self._model is None:
            return None
        faults = [
            Fault(_parameter(name), said)
            for name, (form, said) in self._forms.items()
            if name in parameters and not form.fullmatch(parameters[name])
        ]
        read: BaseModel | None = None
        try:
            read = self._model.model_validate_strings(parameters)
        except ValidationError as error:
            told = {fault.pointer for fault in faults}
            faults += [one for one in faults_of(error, parameters) if one.pointer not in told]
        if faults:
            raise Problem(BAD_QUERY, errors=faults[:MAX_FAULTS])
        return read


async def read_body(request: web.Request, route: Route) -> bytes:
    """The bytes of the body, within the limit of the route and ten seconds.

    Raises: Problem `too-large`, `too-slow`, `bad-request`, and both of 415.
    """
    if request.headers.get(hdrs.CONTENT_ENCODING):
        raise Problem(CONTENT_ENCODING_REFUSED)
    declared = request.content_length
    if declared is not None and declared > route.max_body_bytes:
        raise _too_large(route)
    try:
        body = await _read_in_time(request, route)
    except TimeoutError:
        raise Problem(TOO_SLOW, headers={"Connection": "close"}) from None
    except (web.RequestPayloadError, ValueError):
        detail = "The body does not follow its own framing."
        raise Problem(BAD_REQUEST, detail, headers={"Connection": "close"}) from None
    if body or route.body_required:
        _check_media_type(request, route)
    return body


async def _read_in_time(request: web.Request, route: Route) -> bytes:
    if request.content.is_eof():
        return await _read_bounded(request, route)  # All of it is here.
    async with asyncio.timeout(BODY_DEADLINE_S):
        return await _read_bounded(request, route)


async def _read_bounded(request: web.Request, route: Route) -> bytes:
    content = request.content
    first = await content.readany()
    if content.at_eof() and len(first) <= route.max_body_bytes:
        return first
    body = bytearray(first)
    while chunk := await content.readany():
        body += chunk
        if len(body) > route.max_body_bytes:
            break
    if len(body) > route.max_body_bytes:
        raise _too_large(route)
    return bytes(body)


def _too_large(route: Route) -> Problem:
    detail = f"The body may have at most {route.max_body_bytes} bytes here."
    return Problem(TOO_LARGE, detail, headers={"Connection": "close"})


def _check_media_type(request: web.Request, route: Route) -> None:
    values = request.headers.getall(hdrs.CONTENT_TYPE, ())
    media_type, *parameters = values[0].split(";") if len(values) == 1 else ("",)
    known = media_type.strip().lower() in route.media_types
    if not known or not all(_CHARSET_UTF8.fullmatch(p) for p in parameters):
        raise Problem(UNSUPPORTED_MEDIA_TYPE, f"Send {' or '.join(route.media_types)}, in UTF-8.")


def read_json(raw: bytes, route: Route) -> Any:
    """The body as a tree.

    Raises: Problem `malformed-json`, or `invalid-request` for refused text.
    """
    try:
        return parse_json(raw, max_depth=route.max_body_depth)
    except BadText as error:
        raise _json_problem(INVALID_REQUEST, error) from None
    except BadJson as error:
        raise _json_problem(MALFORMED_JSON, error) from None


def _json_problem(kind: ProblemKind, error: BadJson) -> Problem:
    return Problem(kind, errors=[Fault(error.pointer, error.detail)])


def read_model(raw: bytes, tree: Any, model: Adapter) -> Any:
    """An instance of the model from bytes that `read_json` made into `tree`.

    Raises: Problem `invalid-request`.
    """
    try:
        if isinstance(model, TypeAdapter):
            return model.validate_json(raw)
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise Problem(INVALID_REQUEST, errors=faults_of(error, tree)) from None
