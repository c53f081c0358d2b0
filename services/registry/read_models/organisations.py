"""Owns the questions which organisations there are and what one is."""

from collections.abc import Mapping
from typing import Any, Final

from services.registry.read_models.references import facts_and_names
from shared.clock import format_instant
from shared.projections.facts import Held
from shared.projections.projection import Connection
from shared.reads.moment import Moment

_LIST: Final = """
SELECT n.subject, n.name AS slug FROM names AS n
CROSS JOIN LATERAL states_at(ARRAY[n.subject], $5, $6, $7, $8) AS s
WHERE n.category = 'organisation' AND n.form = 'slug' AND n.name > $1 AND s.state ? 'name'
    AND ($3::text IS NULL OR s.state ->> 'kind' = $3)
    AND ($4::text IS NULL OR coalesce(s.state ->> 'parent', '') = $4)
ORDER BY n.name LIMIT $2
"""


async def list_organisations(
    connection: Connection,
    kind: str | None,
    parent: str | None,
    after_slug: str,
    limit: int,
    moment: Moment,
) -> list[tuple[str, str]]:
    """At most `limit` pairs of id and slug behind `after_slug` (exclusive; empty = start)."""
    rows = await connection.fetch(
        _LIST, after_slug, limit, kind, parent, moment.as_of, *moment.known.arguments()
    )
    return [(row["subject"], row["slug"]) for row in rows]


async def organisations_at(
    connection: Connection, subjects: list[str], moment: Moment
) -> list[dict[str, Any]]:
    """The documents of these organisations at a moment, in order; unknown ones are left out."""
    states, names = await facts_and_names(connection, subjects, moment)
    known = [(s, states[s]) for s in subjects if "name" in states.get(s, {})]
    return [_document(subject, state, names) for subject, state in known]


def _document(subject: str, state: Mapping[str, Held], names: Mapping[str, str]) -> dict[str, Any]:
    parent = state["parent"].value
    return {
        "id": subject,
        "slug": state["slug"].value,
        "name": state["name"].value,
        "kind": state["kind"].value,
        "parent": None if parent is None else {"id": parent, "name": names.get(parent)},
        "aliases": sorted(name.removeprefix("alias:") for name in state if name[:6] == "alias:"),
        "effective_from": format_instant(max(h.effective_from for h in state.values())),
        "position": f"registry:{max(held.position for held in state.values())}",
    }
