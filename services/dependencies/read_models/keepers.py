"""Owns the question which organisation keeps a service, as far as the registry was read here."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from shared.projections.facts import facts_at
from shared.projections.read_models import Pool

_SERVICES: Final = """
SELECT w.name, n.subject FROM unnest($1::text[]) AS w (name)
JOIN names AS n ON n.category = 'service' AND n.name = w.name
"""
_SUBMITTERS: Final = """
SELECT s.subject FROM states_at(
    ARRAY(SELECT DISTINCT subject FROM names WHERE category = 'organisation'), $1
) AS s
WHERE s.state ->> 'kind' <> 'team'
"""


async def keepers(
    pool: Pool, questions: Collection[tuple[str, str]], now: datetime
) -> Mapping[tuple[str, str], Any]:
    """Answer (question, reference of a service) with its keeper's id; None: not resolved."""
    references = sorted({about for _question, about in questions})
    async with pool.acquire() as connection:
        rows = await connection.fetch(_SERVICES, references)
        subjects = {row["name"]: row["subject"] for row in rows}
        states = await facts_at(connection, sorted(set(subjects.values())), now)
    answers = {}
    for question, about in questions:
        state = states.get(subjects.get(about, ""), {})
        held = [state[name].value for name in ("organisation", "registrant") if name in state]
        answers[question, about] = next(filter(None, held), None)
    return answers


async def submitters(pool: Pool, now: datetime) -> Collection[str]:
    """Every organisation but teams has a submissions topic."""
    return [row["subject"] for row in await pool.fetch(_SUBMITTERS, now)]
