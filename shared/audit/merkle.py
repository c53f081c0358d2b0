"""Owns the verifier's own RFC 6962 tree: leaf and node hashes, roots, the tree that grows.

Must not share code with the writer's.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()


def hash_leaf(entry: bytes) -> bytes:
    """The leaf hash of an entry."""
    return sha256(b"\x00" + entry).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """The hash over two subtrees."""
    return sha256(b"\x01" + left + right).digest()


def split_size(size: int) -> int:
    """The largest power of two below `size`: how many leaves the left subtree has."""
    return 1 << ((size - 1).bit_length() - 1)


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes, by the recursive definition of RFC 6962 section 2.1."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = split_size(len(leaves))
    return hash_node(tree_root(leaves[:split]), tree_root(leaves[split:]))


def split_hashes(joined: bytes) -> list[bytes]:
    """Cut hashes that stand one after the other apart."""
    return [joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES)]


def subtree_sizes(size: int) -> list[int]:
    """How many leaves each complete subtree of a tree has, largest first."""
    return [1 << bit for bit in reversed(range(size.bit_length())) if size >> bit & 1]


def fold_subtrees(subtrees: Sequence[bytes]) -> bytes:
    """The root of the tree whose complete subtrees, largest first, have these roots."""
    if not subtrees:
        return EMPTY_ROOT
    root = subtrees[-1]
    for subtree in reversed(subtrees[:-1]):
        root = hash_node(subtree, root)
    return root


class Tree:
    """A tree that grows at its end and remembers its complete subtrees only.

    `_levels[n]` is the root of the complete subtree of 2^n leaves, present where the size has
    that bit.
    """

    def __init__(self) -> None:
        self.size = 0
        self._levels: list[bytes | None] = []

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes."""
        levels = self._levels
        for leaf in leaves:
            carried, level = leaf, 0
            while level < len(levels) and (left := levels[level]) is not None:
                carried = sha256(b"\x01" + left + carried).digest()
                levels[level] = None
                level += 1
            if level == len(levels):
                levels.append(carried)
            else:
                levels[level] = carried
            self.size += 1

    def subtrees(self) -> list[bytes]:
        """The roots of the complete subtrees, largest first."""
        return [root for root in reversed(self._levels) if root is not None]

    def root(self) -> bytes:
        """The tree's root."""
        return fold_subtrees(self.subtrees())
