"""Owns giving slugs to names in the order in which the names appear.

Must not depend on names still to come: what a cut source gives, the whole source gives too.
"""

from collections.abc import Iterable

from shared.contracts.names import MAX_SLUG_LENGTH, RESERVED_SLUGS, slugify


class Slugs:
    """The slugs given so far; the second name with the same slug gets `-2`, the third `-3`.

    Reserved slugs, and those that are `taken`, count as given.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._given = {*RESERVED_SLUGS, *taken}

    def give(self, name: str) -> str:
        """The next free slug for a name that has none yet."""
        slug = first = slugify(name) or "unnamed"
        number = 1
        while slug in self._given:
            number += 1
            suffix = f"-{number}"
            slug = first[: MAX_SLUG_LENGTH - len(suffix)].rstrip("-") + suffix
        self._given.add(slug)
        return slug
