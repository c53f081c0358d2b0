"""Owns the documentation pages: readable HTML from the OpenAPI document, served without any script.

Must not contain anything that the document or the problem table does not say.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from shared.http.problems import ProblemKind

Schema = Mapping[str, Any]
_CODE = re.compile(r"`([^`]+)`")
_PARAMETER = re.compile(r"\{([a-z_]+)\}")
_METHODS = ("get", "post", "put", "patch", "delete")
_MAX_MEMBER_DEPTH = 3


def docs_html(document: Schema) -> str:
    """The whole API on one page, grouped by tag."""
    info = document["info"]
    groups = {tag["name"]: list(_operations(document, tag["name"])) for tag in document["tags"]}
    sections = "".join(_section(document, tag, found) for tag, found in groups.items())
    main = (
        f"<h1>{escape(info['title'])}</h1>"
        f'<p class="lead">Version {escape(info["version"])}. '
        'The same as <a href="/openapi.json">OpenAPI 3.1</a>; '
        'every <a href="/problems">kind of problem</a>.</p>'
        f"{_paragraphs(info.get('description', ''))}{sections}"
    )
    navigation = _navigation(info["title"], groups)
    return _page(
        info["title"], f'<div class="frame">{navigation}<main id="main">{main}</main></div>'
    )


def problem_html(kind: ProblemKind) -> str:
    """The page of one kind of problem."""
    retry = (
        "" if kind.retry_after_s is None else f"<dt>Retry after</dt><dd>{kind.retry_after_s} s</dd>"
    )
    main = (
        f"<h1>{escape(kind.title)}</h1>"
        f"<dl><dt>Status</dt><dd>{kind.status}</dd>"
        f"<dt>Type</dt><dd><code>{escape(kind.type)}</code></dd>{retry}</dl>"
        f"<h2>What to do</h2>{_paragraphs(kind.advice)}"
        '<p><a href="/problems">All problems</a> · <a href="/docs">Documentation</a></p>'
    )
    return _page(kind.title, f'<main class="page" id="main">{main}</main>')


def problems_html(kinds: Iterable[ProblemKind]) -> str:
    """The list of all kinds of problem."""
    rows = "".join(
        f'<tr><td><a href="{escape(kind.type)}"><code>{escape(kind.slug)}</code></a></td>'
        f"<td>{kind.status}</td><td>{escape(kind.title)}</td></tr>"
        for kind in kinds
    )
    main = (
        "<h1>Problems</h1>"
        '<p class="lead">What a request can be refused with, and what to do about each.</p>'
        f"{_table(('Problem', 'Status', 'Meaning'), rows)}"
        '<p><a href="/docs">Documentation</a></p>'
    )
    return _page("Problems", f'<main class="page" id="main">{main}</main>')


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en-GB"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>"
        '<link rel="stylesheet" href="/docs/style.css"></head>'
        f'<body><a class="skip" href="#main">Skip to content</a>{body}</body></html>'
    )


def _operations(document: Schema, tag: str) -> Iterator[tuple[str, str, Schema]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            operation = item.get(method)
            if operation is not None and tag in operation["tags"]:
                yield method, path, operation


def _navigation(title: str, groups: Mapping[str, Sequence[tuple[str, str, Schema]]]) -> str:
    parts = []
    for tag, operations in groups.items():
        links = "".join(
            f'<li><a href="#{escape(op["operationId"])}">{_method(method)}'
            f"{escape(op['summary'])}</a></li>"
            for method, _, op in operations
        )
        parts.append(f"<h2>{escape(tag)}</h2><ul>{links}</ul>")
    home = f'<a class="home" href="#main">{escape(title)}</a>'
    return f'<nav aria-label="Operations">{home}{"".join(parts)}</nav>'


def _method(method: str) -> str:
    return f'<span class="method {escape(method)}">{escape(method.upper())}</span>'


def _section(document: Schema, tag: str, operations: Sequence[tuple[str, str, Schema]]) -> str:
    articles = "".join(_article(document, *operation) for operation in operations)
    return f"<section><h2>{escape(tag)}</h2>{articles}</section>"


def _article(document: Schema, method: str, path: str, operation: Schema) -> str:
    name = escape(operation["operationId"])
    return (
        f'<article id="{name}"><h3>{escape(operation["summary"])}</h3>'
        f'<p class="address">{_method(method)}{escape(path)}</p>'
        f"{_paragraphs(operation.get('description', ''))}"
        f'<p class="who">May call: {_who(operation)}</p>'
        f"{_parameters(operation)}{_request(document, operation)}{_answers(document, operation)}"
        f"<h4>Try it</h4><pre><code>{escape(curl_line(method, path, operation))}</code></pre>"
        "</article>"
    )


def _who(operation: Schema) -> str:
    words = {
        "anyone": "anyone",
        "authenticated": "anyone with a credential",
        "public-or-authenticated": "anyone with a credential; of public services, anyone",
    }
    return ", ".join(escape(words.get(name, name)) for name in operation["x-allow"])


def _parameters(operation: Schema) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code>{_must(required=p.get('required', False))}</td>"
        f"<td>{escape(p['in'])}</td>"
        f"<td>{_inline(p.get('description', ''))} {_type(p['schema'])}</td></tr>"
        for p in operation["parameters"]
        if p["name"] != "X-Correlation-Id"
    )
    return f"<h4>Parameters</h4>{_table(('Name', 'In', 'Meaning'), rows)}" if rows else ""


def _request(document: Schema, operation: Schema) -> str:
    request = operation.get("requestBody")
    if request is None:
        return ""
    media_types = " or ".join(f"<code>{escape(name)}</code>" for name in request["content"])
    content = next(iter(request["content"].values()))
    rows = "".join(_member_rows(document, content["schema"], ()))
    table = _table(("Member", "Type", "Meaning"), rows) if rows else ""
    examples = "".join(
        f"<h4>Example: {escape(name.replace('_', ' '))}</h4>{_json(example['value'])}"
        for name, example in content.get("examples", {}).items()
    )
    return f"<h4>Body</h4><p>{media_types}</p>{table}{examples}"


def _answers(document: Schema, operation: Schema) -> str:
    responses = operation["responses"]
    rows = "".join(
        f"<tr><td>{escape(status)}</td><td>{_answer_text(response)}</td></tr>"
        for status, response in responses.items()
    )
    members = "".join(
        _answer_schema(document, content)
        for status, response in responses.items()
        if status.startswith("2")
        for content in response.get("content", {}).values()
    )
    return f"<h4>Answers</h4>{_table(('Status', 'Meaning'), rows)}{members}"


def _answer_text(response: Schema) -> str:
    problems = response.get("content", {}).get("application/problem+json")
    if problems is None:
        return _inline(response["description"])
    return ", ".join(
        f'<a href="/problems/{escape(slug)}">{escape(example["value"]["title"])}</a>'
        for slug, example in problems["examples"].items()
    )


def _answer_schema(document: Schema, content: Schema) -> str:
    rows = "".join(_member_rows(document, content["schema"], ()))
    table = _table(("Member", "Type", "Meaning"), rows) if rows else ""
    example = "".join(_json(e["value"]) for e in content.get("examples", {}).values())
    if not table and not example:
        return ""
    return f"<details><summary>Members of the answer</summary>{table}{example}</details>"


def _member_rows(document: Schema, schema: Schema, path: tuple[str, ...]) -> Iterator[str]:
    schema = _resolved(document, schema)
    required = set(schema.get("required", ()))
    for name, member in schema.get("properties", {}).items():
        here = (*path, name)
        inner = _resolved(document, member)
        meaning = member.get("description") or inner.get("description", "")
        yield (
            f"<tr><td><code>{escape('.'.join(here))}</code>{_must(required=name in required)}</td>"
            f"<td>{_type(inner)}</td><td>{_inline(meaning)}</td></tr>"
        )
        if len(here) < _MAX_MEMBER_DEPTH:
            yield from _member_rows(document, _items(inner), here)
    for choice in schema.get("oneOf", schema.get("anyOf", ())) if not path else ():
        yield from _choice_rows(document, choice)


def _choice_rows(document: Schema, choice: Schema) -> Iterator[str]:
    resolved = _resolved(document, choice)
    title = resolved.get("title")
    if title and resolved.get("properties"):
        yield f'<tr><th colspan="3" scope="rowgroup">{escape(title)}</th></tr>'
        yield from _member_rows(document, resolved, ("",) * _MAX_MEMBER_DEPTH)


def _items(schema: Schema) -> Schema:
    items = schema.get("items")
    return items if isinstance(items, dict) else schema


def _resolved(document: Schema, schema: Schema) -> Schema:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    return found


def _must(*, required: bool) -> str:
    return ' <span class="must">required</span>' if required else ""


def _type(schema: Schema) -> str:
    return f'<span class="type">{escape(type_words(schema))}</span>'


def type_words(schema: Schema) -> str:
    """A schema in a few words: `string, 1 to 200 long`, `one of a, b`, `list of string`."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return "one of " + ", ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return f"always {schema['const']}"
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return " or ".join(type_words(choice) for choice in choices)
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {type_words(schema.get('items', {}))}"
    return kind + "".join(_limits(schema))


def _limits(schema: Schema) -> Iterator[str]:
    if "format" in schema:
        yield f", {schema['format']}"
    for low, high, unit in (("minLength", "maxLength", " long"), ("minimum", "maximum", "")):
        if low in schema and high in schema:
            yield f", {schema[low]} to {schema[high]}{unit}"
        elif high in schema:
            yield f", at most {schema[high]}{unit}"
        elif low in schema:
            yield f", at least {schema[low]}{unit}"
    if "default" in schema and schema["default"] is not None:
        yield f", default {json.dumps(schema['default'])}"


def curl_line(method: str, path: str, operation: Schema) -> str:
    """A command line that calls the operation."""
    address = _PARAMETER.sub(lambda match: f"${match[1].upper()}", path)
    parts = ["curl", *(["-X", method.upper()] if method not in {"get", "post"} else [])]
    if operation["security"]:
        parts.append('-H "Authorization: Bearer $ESTATE_KEY"')
    if any(p["name"] == "Idempotency-Key" for p in operation["parameters"]):
        parts.append('-H "Idempotency-Key: $(uuidgen)"')
    request = operation.get("requestBody")
    if request is not None:
        media_type, content = next(iter(request["content"].items()))
        example: Schema = next(iter(content.get("examples", {}).values()), {"value": {}})
        quoted = json.dumps(example["value"], ensure_ascii=False).replace("'", "'\\''")
        parts += [f'-H "Content-Type: {media_type}"', f"--data '{quoted}'"]
    elif method == "post":
        parts.insert(1, "-X POST")
    return " \\\n  ".join([*parts, f'"$ESTATE_URL{address}"'])


def _table(headings: Sequence[str], rows: str) -> str:
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="table">{table}</div>'


def _json(value: Any) -> str:
    return f"<pre><code>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</code></pre>"


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part.strip())


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))
