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
