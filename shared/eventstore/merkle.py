"""Owns the RFC 6962 tree over the log's leaves, kept as its frontier.

Must not know what a leaf covers. The auditor's verifier has its own implementation on purpose.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
_NODE_PREFIX: Final = b"\x01"


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE_PREFIX + left + right).digest()


@dataclass(slots=True)
class Frontier:
    """The roots of the complete subtrees of a tree of `size` leaves, largest first.

    There is one for each 1 bit of `size`, so appending is constant work on average.
    Source: RFC 6962 section 2.1.
    """

    size: int
    roots: list[bytes]

    @classmethod
    def from_bytes(cls, size: int, stored: bytes) -> "Frontier":
        """Read what `to_bytes` wrote.

        Raises: ValueError when the bytes cannot belong to a tree of that size.
        """
        if len(stored) != HASH_BYTES * size.bit_count():
            raise ValueError(f"{len(stored)} bytes are no frontier of {size} leaves")
        roots = [stored[at : at + HASH_BYTES] for at in range(0, len(stored), HASH_BYTES)]
        return cls(size, roots)

    def to_bytes(self) -> bytes:
        """The roots one after the other."""
        return b"".join(self.roots)

    def copy(self) -> "Frontier":
        """An independent frontier of the same tree."""
        return Frontier(self.size, self.roots.copy())

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash, merging complete subtrees of equal size."""
        carried, remaining = leaf, self.size
        while remaining & 1:
            carried = _node(self.roots.pop(), carried)
            remaining >>= 1
        self.roots.append(carried)
        self.size += 1

    def root(self) -> bytes:
        """The tree's root hash."""
        if not self.roots:
            return EMPTY_ROOT
        root = self.roots[-1]
        for subtree in reversed(self.roots[:-1]):
            root = _node(subtree, root)
        return root
