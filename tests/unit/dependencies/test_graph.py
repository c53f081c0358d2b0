from collections.abc import Collection, Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.dependencies.graph import MAX_NODES, Direction, Edge, Node, Reached, Walk, reach


def node(name: str) -> Node:
    return Node(name, "service", name)


def edge(from_: str, to: str) -> Edge:
    return Edge(f"{from_}>{to}", node(from_), node(to), "uses-api", None)


async def walk(
    edges: Sequence[Edge], start: str, direction: Direction, depth: int
) -> Sequence[Reached]:
    found = await bounded(edges, start, direction, depth)
    assert not found.truncated
    return found.reached


async def bounded(
    edges: Sequence[Edge], start: str, direction: Direction, depth: int, max_nodes: int = MAX_NODES
) -> Walk:
    async def next_edges(nodes: Collection[Node]) -> Sequence[Edge]:
        keys = {one.key for one in nodes}
        upstream = direction is Direction.UPSTREAM
        return [one for one in edges if (one.from_ if upstream else one.to).key in keys]

    return await reach(node(start), direction, depth, next_edges, max_nodes)


def names(reached: Sequence[Reached]) -> list[tuple[str, int]]:
    return [(one.node.name, one.depth) for one in reached]


DIAMOND = [edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("c", "d"), edge("d", "e")]


async def test_the_walk_goes_as_deep_as_asked_and_by_the_fewest_steps() -> None:
    up = Direction.UPSTREAM
    assert names(await walk(DIAMOND, "a", up, 1)) == [("b", 1), ("c", 1)]
    assert names(await walk(DIAMOND, "a", up, 9)) == [("b", 1), ("c", 1), ("d", 2), ("e", 3)]


async def test_the_walk_downstream_follows_edges_backwards() -> None:
    assert names(await walk(DIAMOND, "d", Direction.DOWNSTREAM, 9)) == [
        ("b", 1),
        ("c", 1),
        ("a", 2),
    ]


async def test_a_cycle_is_walked_once_and_leaves_the_start_out() -> None:
    cycle = [edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("a", "a")]
    assert names(await walk(cycle, "a", Direction.UPSTREAM, 20)) == [("b", 1), ("c", 2)]


async def test_the_edge_by_which_a_node_was_first_reached_is_told() -> None:
    reached = await walk(list(reversed(DIAMOND)), "a", Direction.UPSTREAM, 2)
    assert reached[-1].through.dependency == "b>d"


async def test_a_walk_ends_at_its_bound_and_says_whether_there_was_more() -> None:
    up = Direction.UPSTREAM
    cut = await bounded(DIAMOND, "a", up, 9, 3)
    assert (names(cut.reached), cut.truncated) == ([("b", 1), ("c", 1), ("d", 2)], True)
    whole = await bounded(DIAMOND, "a", up, 9, 4)
    assert (len(whole.reached), whole.truncated) == (4, False)
    assert not (await bounded(DIAMOND, "a", up, 2, 3)).truncated
    assert (await bounded(DIAMOND, "a", up, 9, 1)).truncated


def distances(edges: Sequence[Edge], start: str) -> Mapping[str, int]:
    """By relaxing every edge until nothing changes."""
    found = {start: 0}
    for _ in edges:
        for one in edges:
            if one.from_.name in found:
                steps = found[one.from_.name] + 1
                found[one.to.name] = min(found.get(one.to.name, steps), steps)
    return {name: steps for name, steps in found.items() if name != start}


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=15))
async def test_the_walk_finds_every_shortest_distance(pairs: list[tuple[str, str]]) -> None:
    edges = [edge(*pair) for pair in dict.fromkeys(pairs)]
    reached = await walk(edges, "a", Direction.UPSTREAM, 20)
    assert dict(names(reached)) == distances(edges, "a")
    assert len(reached) == len(dict(names(reached)))
