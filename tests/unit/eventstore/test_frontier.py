import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.eventstore.merkle import EMPTY_ROOT, Frontier


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    halves = naive_root(leaves[:split]) + naive_root(leaves[split:])
    return hashlib.sha256(b"\x01" + halves).digest()


def leaves_of(count: int) -> list[bytes]:
    return [hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(count)]


def frontier_of(leaves: list[bytes]) -> Frontier:
    tree = Frontier(0, [])
    for leaf in leaves:
        tree.append(leaf)
    return tree


@pytest.mark.parametrize("count", [*range(70), 127, 128, 129, 300])
def test_the_root_is_that_of_the_whole_tree(count: int) -> None:
    leaves = leaves_of(count)
    tree = frontier_of(leaves)
    assert tree.root() == naive_root(leaves)
    assert tree.size == count
    assert len(tree.roots) == count.bit_count()


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Frontier.from_bytes(0, b"").root() == EMPTY_ROOT


@given(st.integers(0, 200), st.integers(0, 60))
def test_a_stored_frontier_goes_on_as_if_it_had_never_been_stored(first: int, more: int) -> None:
    leaves = leaves_of(first + more)
    tree = frontier_of(leaves[:first])
    again = Frontier.from_bytes(first, tree.to_bytes())
    for leaf in leaves[first:]:
        again.append(leaf)
    assert again.root() == naive_root(leaves)
    assert tree.root() == naive_root(leaves[:first])


def test_a_copy_is_independent() -> None:
    tree = frontier_of(leaves_of(5))
    root = tree.root()
    tree.copy().append(b"x" * 32)
    assert (tree.size, tree.root()) == (5, root)


@pytest.mark.parametrize(("size", "stored"), [(1, b""), (0, b"x" * 32), (3, b"x" * 32), (1, b"x")])
def test_bytes_that_cannot_be_a_frontier_of_that_size_are_refused(size: int, stored: bytes) -> None:
    with pytest.raises(ValueError, match="no frontier"):
        Frontier.from_bytes(size, stored)
