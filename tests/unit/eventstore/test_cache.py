"""The writer's cache is bounded, whatever is asked for."""

import pytest

from shared.eventstore import view
from shared.eventstore.types import Claim, Loaded
from shared.eventstore.view import Cache


def test_the_least_recently_used_is_dropped_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "_MAX_CACHED", 2)
    cache = Cache({})
    for stream in ("a", "b"):
        cache.put_state(stream, Loaded(stream, 1))
    assert cache.state("a")
    cache.put_state("c", Loaded("c", 1))
    assert [bool(cache.state(stream)) for stream in ("a", "b", "c")] == [True, False, True]


def test_names_that_nobody_holds_are_no_way_to_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(view, "_MAX_CACHED", 2)
    cache = Cache({})
    claims = [Claim("slug", str(number)) for number in range(5)]
    for claim in claims:
        cache.put_claim(claim, None)
    assert [cache.knows_claim(claim) for claim in claims] == [False] * 3 + [True] * 2
