"""The verifier's tree and proofs are those of RFC 6962."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.merkle import EMPTY_ROOT, Tree, hash_leaf, subtree_sizes, tree_root
from shared.audit.proofs import is_consistent, is_included, prove_consistency, prove_inclusion
from shared.eventstore.merkle import Frontier

# The tree of Certificate Transparency's own tests: eight entries, their roots, some proofs.
ENTRIES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [hash_leaf(bytes.fromhex(entry)) for entry in ENTRIES]
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): INCLUSION[(0, 8)],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_reference_tree(size: int) -> None:
    tree = Tree()
    tree.extend(LEAVES[:size])
    assert tree.root().hex() == tree_root(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_empty_tree_has_the_hash_of_nothing() -> None:
    assert Tree().root() == tree_root([]) == EMPTY_ROOT == sha256().digest()


@pytest.mark.parametrize(("place", "proof"), INCLUSION.items())
def test_inclusion_proofs_are_those_of_the_reference_tree(
    place: tuple[int, int], proof: list[str]
) -> None:
    index, size = place
    assert [node.hex() for node in prove_inclusion(LEAVES[:size], index)] == proof


@pytest.mark.parametrize(("sizes", "proof"), CONSISTENCY.items())
def test_consistency_proofs_are_those_of_the_reference_tree(
    sizes: tuple[int, int], proof: list[str]
) -> None:
    earlier, size = sizes
    assert [node.hex() for node in prove_consistency(LEAVES[:size], earlier)] == proof


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=200), st.integers(0, 200))
def test_tree_grows_as_the_writers_does(leaves: list[bytes], cut: int) -> None:
    theirs, ours = Frontier(0, []), Tree()
    for leaf in leaves:
        theirs.append(leaf)
    ours.extend(leaves[:cut])
    ours.extend(leaves[cut:])
    assert ours.root() == theirs.root() == tree_root(leaves)
    assert b"".join(ours.subtrees()) == theirs.to_bytes()
    assert sum(subtree_sizes(ours.size)) == len(leaves)
    assert len(subtree_sizes(ours.size)) == len(ours.subtrees())


SIZES = [(earlier, size) for size in range(34) for earlier in range(size + 1)]
MANY = [hash_leaf(bytes([number])) for number in range(34)]


def test_every_inclusion_is_proven_and_no_other() -> None:
    for index, size in SIZES:
        if index == size:
            continue
        leaves = MANY[:size]
        root, proof = tree_root(leaves), prove_inclusion(leaves, index)
        assert len(proof) <= (size - 1).bit_length()
        assert is_included(leaves[index], index, size, root, proof)
        assert not is_included(MANY[-1], index, size, root, proof)
        assert not is_included(leaves[index], index, size, bytes(32), proof)
        assert not is_included(leaves[index], index, size, root, [*proof, root])
        assert not is_included(leaves[index], size, size, root, proof)
        for wrong in set(range(size)) - {index}:
            assert not is_included(leaves[index], wrong, size, root, proof)
        if proof:
            assert not is_included(leaves[index], index, size, root, proof[:-1])


def test_every_prefix_is_proven_and_no_other() -> None:
    for earlier, size in SIZES:
        roots = tree_root(MANY[:earlier]), tree_root(MANY[:size])
        proof = prove_consistency(MANY[:size], earlier)
        assert len(proof) <= max(size - 1, 0).bit_length() + 1
        assert is_consistent(earlier, roots[0], size, roots[1], proof)
        assert not is_consistent(earlier, roots[0], size, roots[1], [*proof, roots[1]])
        if 0 < earlier < size:
            assert not is_consistent(earlier, bytes(32), size, roots[1], proof)
            assert not is_consistent(earlier, roots[0], size, bytes(32), proof)
            assert not is_consistent(earlier, roots[0], size, roots[1], proof[:-1])
            assert not is_consistent(size, roots[1], earlier, roots[0], proof)


@pytest.mark.parametrize("index", [-1, 8])
def test_there_is_no_proof_of_what_is_not_there(index: int) -> None:
    with pytest.raises(IndexError):
        prove_inclusion(LEAVES, index)
    with pytest.raises(IndexError):
        prove_consistency(LEAVES, index + (index > 0))
