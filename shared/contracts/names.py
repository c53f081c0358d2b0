"""Owns how ids, slugs, aliases, submissions and positions are written.

Must not know what any of them refer to.
"""

import re
from dataclasses import dataclass
from typing import Final

ID_PATTERN: Final = re.compile(r"(?P<prefix>[a-z]{3})_[0-9a-f]{32}")
SLUG_PATTERN: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
ALIAS_PATTERN: Final = re.compile(r"[a-z0-9-]{1,64}:[^\x00-\x1f\x7f]{1,200}")
CONTACT_PREFIX: Final = "contact:"
CONTACT_PATTERN: Final = re.compile(r"contact:[a-z0-9-]{1,64}")
POSITION_PATTERN: Final = re.compile(
    r"(?P<log>[a-z]+)(?:@(?P<timeline>[1-9][0-9]{0,8}))?:(?P<position>0|[1-9][0-9]{0,17})"
)
MAX_SLUG_LENGTH: Final = 100
SUBMISSION_SOURCE_PATTERN: Final = re.compile(r"[a-z0-9-]{1,64}")
SUBMISSION_ID_PATTERN: Final = re.compile(r"[\x21-\x7e]{1,200}")
RESERVED_SLUGS: Final = frozenset({"none"})
"""What a filter understands as a word of its own, where a reference may stand too."""


def is_id(reference: str, prefix: str) -> bool:
    """Whether `reference` has the form of one of our ids with that prefix."""
    match = ID_PATTERN.fullmatch(reference)
    return match is not None and match["prefix"] == prefix


def is_slug(reference: str) -> bool:
    """Whether `reference` has the form of a slug."""
    return len(reference) <= MAX_SLUG_LENGTH and SLUG_PATTERN.fullmatch(reference) is not None


def is_alias(reference: str) -> bool:
    """Whether `reference` has the form `<source>:<external id>`, all of it printable.

    Bidirectional controls and invisible characters are not, so no two aliases look alike by them.
    The source `contact` is not for aliases: what follows it must be opaque.
    """
    if reference.startswith(CONTACT_PREFIX) or not reference.isprintable():
        return False
    return ALIAS_PATTERN.fullmatch(reference) is not None


def is_reserved(slug: str) -> bool:
    """Whether a slug may be asked with, but never be given to anything."""
    return slug in RESERVED_SLUGS


def slugify(name: str) -> str:
    """Derive a slug from a name; empty when the name has no letter or digit of ASCII."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:MAX_SLUG_LENGTH].strip("-")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a log: `registry:123` on timeline 1, else `registry@2:123`."""

    log: str
    position: int
    timeline: int = 1

    def __str__(self) -> str:
        timeline = "" if self.timeline == 1 else f"@{self.timeline}"
        return f"{self.log}{timeline}:{self.position}"


def parse_positions(text: str) -> tuple[Position, ...]:
    """Read `registry:123,dependencies:45`; each log at most once.

    Raises: ValueError naming the part that is not a position.
    """
    positions: dict[str, Position] = {}
    for part in text.split(","):
        match = POSITION_PATTERN.fullmatch(part)
        if match is None or match["log"] in positions:
            raise ValueError(f"{part[:80]!r} is not a position such as registry:123")
        timeline = int(match["timeline"] or 1)
        positions[match["log"]] = Position(match["log"], int(match["position"]), timeline)
    return tuple(positions.values())
