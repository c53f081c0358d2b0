"""Owns inclusion and consistency proofs of RFC 6962, and their check.

Must not do IO. Whoever checks needs the proof, the hashes at its two ends and nothing else.
"""

from collections.abc import Sequence

from shared.audit.merkle import hash_node, split_size, tree_root


def prove_inclusion(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Prove that the leaf at `index` (from 0) is in the tree over all the leaves.

    Raises: IndexError when there is no such leaf. Source: RFC 6962 section 2.1.1.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"there is no leaf {index} among {len(leaves)}")
    if len(leaves) == 1:
        return []
    split = split_size(len(leaves))
    if index < split:
        return [*prove_inclusion(leaves[:split], index), tree_root(leaves[split:])]
    return [*prove_inclusion(leaves[split:], index - split), tree_root(leaves[:split])]


def prove_consistency(leaves: Sequence[bytes], earlier_size: int) -> list[bytes]:
    """Prove that the tree over the first `earlier_size` leaves is a prefix of the tree over all.

    Raises: IndexError when the earlier tree is the larger one. Source: RFC 6962 section 2.1.2.
    """
    if not 0 <= earlier_size <= len(leaves):
        raise IndexError(f"a tree of {len(leaves)} leaves has no prefix of {earlier_size}")
    if earlier_size in {0, len(leaves)}:
        return []
    return _subproof(leaves, earlier_size, is_whole=True)


def _subproof(leaves: Sequence[bytes], size: int, *, is_whole: bool) -> list[bytes]:
    if size == len(leaves):
        return [] if is_whole else [tree_root(leaves)]
    split = split_size(len(leaves))
    if size <= split:
        return [
            *_subproof(leaves[:split], size, is_whole=is_whole),
            tree_root(leaves[split:]),
        ]
    return [*_subproof(leaves[split:], size - split, is_whole=False), tree_root(leaves[:split])]


def is_included(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that `leaf` stands at `index` (from 0) of the tree with this root.

    Source: RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size:
        return False
    node, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            computed = hash_node(sibling, computed)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            computed = hash_node(computed, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and computed == root


def is_consistent(
    earlier_size: int, earlier_root: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether `proof` shows that the earlier tree is a prefix of the later one.

    The empty tree is a prefix of every tree. Source: RFC 9162 section 2.1.4.2.
    """
    if not 0 <= earlier_size <= size:
        return False
    if earlier_size == size:
        return not proof and earlier_root == root
    if earlier_size == 0:
        return not proof
    if earlier_size & (earlier_size - 1) == 0:
        proof = [earlier_root, *proof]
    if not proof:
        return False
    return _climb(earlier_size - 1, size - 1, proof) == (earlier_root, root)


def _climb(node: int, last: int, proof: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The roots of the earlier and of the later tree that a consistency proof leads to."""
    while node & 1:
        node, last = node >> 1, last >> 1
    earlier = later = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            return None
        if node & 1 or node == last:
            earlier, later = hash_node(sibling, earlier), hash_node(sibling, later)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            later = hash_node(later, sibling)
        node, last = node >> 1, last >> 1
    return (earlier, later) if last == 0 else None
