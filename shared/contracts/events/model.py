"""Owns what every event's data shares: strictness, frozenness, the reason, corrections."""

from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field


class EventData(BaseModel):
    """The data of one event type; unknown fields are kept, since a newer writer may add some."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    TYPE: ClassVar[str]

    reason: str | None = Field(default=None, description="Why, in the words of whoever did it.")
    corrects: tuple[int, ...] = Field(
        default=(), description="Positions in the same log of the facts that this one replaces."
    )

    def to_json(self) -> dict[str, Any]:
        """The data as it is logged: absent rather than null or empty where nothing was said."""
        data = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        for name in _SILENT:
            if name in data and not data[name]:
                del data[name]
        return data


_SILENT: Final = ("reason", "corrects")
