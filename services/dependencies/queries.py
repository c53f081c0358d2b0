"""Owns the queries that callers with and without a key ask alike."""

from typing import Annotated

from pydantic import Field

from services.dependencies.graph import MAX_DEPTH
from shared.commands.command import Reference
from shared.reads.reading import MomentQuery, PageQuery


class ReachQuery(MomentQuery):
    """How far to walk."""

    depth: Annotated[int, Field(ge=1, le=MAX_DEPTH)] = 1


class DependencyListQuery(PageQuery):
    """Which dependencies to list."""

    from_: Reference | None = Field(default=None, alias="from", description="The dependent.")
    to: Annotated[str, Field(min_length=1, max_length=265)] | None = Field(
        default=None,
        description="What is depended on: a service, or the name of something external.",
    )


class UnresolvedQuery(PageQuery):
    """Which page of the names that no registered service answers to."""
