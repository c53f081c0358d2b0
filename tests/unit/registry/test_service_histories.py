"""Whatever is accepted, in whatever order and about whatever time, leaves a state that holds."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.services import decider
from services.registry.services.commands import (
    AddAlias,
    AssignRole,
    ChangeDetails,
    ChangePhase,
    DelistService,
    MoveService,
    ReinstateService,
    RetireService,
    SetVisibility,
    VacateRole,
)
from services.registry.services.decider import SERVICE
from shared.commands.command import Context, Decider
from shared.commands.history import History
from shared.commands.refusals import Refusal
from shared.contracts.events import EVENT_MODELS
from shared.contracts.events.services import EVENTS, Phase, Role, Visibility
from shared.contracts.facts.services import service_facts
from shared.eventstore.types import Fact
from tests.support.builders import (
    LICENCES,
    PUBLISHING,
    TREASURY,
    admin,
    organisation,
    service,
    team,
)
from tests.support.clock import NOON
from tests.support.given import MemoryView
from tests.support.ids import numbered
from tests.support.samples import DATA_SAMPLES

HOLDERS = ["team-one", "treasury", "contact:c-1", "contact:c-2"]
ATTRIBUTES = {"source": "crm", "set": {"a": 1, "b": [True]}}


def _roles() -> st.SearchStrategy[tuple[Any, Any]]:
    role = st.sampled_from([Role.OWNING_TEAM, Role.PRODUCT_MANAGER])
    holder = st.sampled_from(HOLDERS)
    assign = st.builds(
        AssignRole, role=role, holder=holder, previous_holder=st.none() | holder
    ).map(lambda body: (decider.assign_role, body))
    vacate = st.builds(VacateRole, role=role, holder=holder).map(
        lambda body: (decider.vacate_role, body)
    )
    return assign | vacate


COMMANDS = _roles() | st.sampled_from(
    [
        (decider.change_details, ChangeDetails(name="New")),
        (decider.change_details, ChangeDetails.model_validate({"description": None})),
        (decider.change_details, ChangeDetails.model_validate({"attributes": ATTRIBUTES})),
        (
            decider.change_details,
            ChangeDetails.model_validate({"attributes": {"source": "crm", "unset": ["a"]}}),
        ),
        (decider.move, MoveService(organisation="treasury")),
        (decider.move, MoveService(organisation="cabinet-office")),
        *((decider.change_phase, ChangePhase(phase=phase)) for phase in (*Phase, None)),
        (decider.delist, DelistService()),
        (decider.reinstate, ReinstateService()),
        (decider.retire, RetireService(successor="publishing")),
        (decider.retire, RetireService()),
        (decider.add_alias, AddAlias(alias="crm:1")),
        *((decider.set_visibility, SetVisibility(visibility=one)) for one in Visibility),
    ]
)
MOMENTS = st.integers(-5, 5).map(lambda days: NOON + timedelta(days=days))


def an_estate() -> MemoryView:
    return MemoryView().add(
        [
            organisation(),
            organisation(TREASURY, "treasury"),
            team(),
            service(),
            service(PUBLISHING, "publishing"),
        ]
    )


def ask(view: MemoryView, decide: Decider[Any], body: Any, at: Any) -> bool:
    """Whether a change was made."""
    context = Context(admin(), NOON, at, numbered("", 9))
    decision = decide(body, LICENCES, context, view)
    view.add(decision.events)
    return bool(decision.events)


def hand_overs_in_order(history: History) -> Iterator[tuple[str, Any, Any]]:
    for attribute, entries in history.timelines.items():
        if attribute.startswith("role:"):
            before = None
            for entry in entries:
                yield attribute, before, entry
                before = entry.value


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(COMMANDS, MOMENTS), max_size=12))
def test_whatever_was_accepted_holds_together(asked: list[tuple[tuple[Any, Any], Any]]) -> None:
    view = an_estate()
    for (decide, body), at in asked:
        try:
            ask(view, decide, body, at)
        except Refusal:
            continue
        with suppress(Refusal):  # A hand-over that has happened is no longer from its holder.
            assert not ask(view, decide, body, at), "the same command again changed something"
        state = view.load(SERVICE, LICENCES)
        assert state.state.at("name", NOON) is not None
        for instant in (NOON, at, at + timedelta(days=9)):
            assert state.state.at("phase", instant) in {None, *Phase}
            assert state.state.at("visibility", instant) in set(Visibility)
            assert state.state.at("listed", instant) in {True, False}
        for entries in state.state.timelines.values():
            assert sorted(entries, key=lambda e: (e.effective_at, e.position)) == list(entries)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_roles(), MOMENTS), max_size=15))
def test_every_recorded_hand_over_is_from_who_held_the_role(
    asked: list[tuple[tuple[Any, Any], Any]],
) -> None:
    view = an_estate()
    previous: dict[int, str | None] = {}
    for (decide, body), at in asked:
        context = Context(admin(), NOON, at, numbered("", 9))
        try:
            events = decide(body, LICENCES, context, view).events
        except Refusal:
            continue
        view.add(events)
        for one in events:
            data: Any = one.data
            previous[view.position] = getattr(data, "previous_holder", data.holder)
    for _, before, entry in hand_overs_in_order(view.load(SERVICE, LICENCES).state):
        assert previous[entry.position] == before


def test_evolve_is_total_over_every_event_of_a_service() -> None:
    state: History = SERVICE.initial
    models: tuple[Any, ...] = EVENTS
    for position, model in enumerate(models, 1):
        data = model.model_validate(DATA_SAMPLES[model.TYPE])
        before = state
        state = SERVICE.evolve(state, Fact(position, NOON, data))
        assert state != before
        for attribute, value in dict(service_facts(data)).items():
            assert state.at(attribute, NOON) == value


def test_evolve_leaves_the_state_alone_when_content_was_redacted() -> None:
    state = SERVICE.evolve(SERVICE.initial, Fact(1, NOON, service().data))
    assert SERVICE.evolve(state, Fact(2, NOON, None)) == state


def test_a_correction_takes_back_what_it_corrects_and_nothing_else() -> None:
    state = SERVICE.evolve(SERVICE.initial, Fact(1, NOON, service(phase=Phase.BETA).data))
    wrong = EVENT_MODELS["estate.service.phase_changed.v1"].model_validate({"phase": "live"})
    state = SERVICE.evolve(state, Fact(2, NOON + timedelta(days=1), wrong))
    late = NOON + timedelta(days=30)
    assert state.at("phase", late) == "live"
    right = EVENT_MODELS["estate.service.phase_changed.v1"].model_validate(
        {"phase": "retiring", "corrects": [2]}
    )
    state = SERVICE.evolve(state, Fact(3, NOON + timedelta(days=20), right))
    assert state.at("phase", NOON + timedelta(days=2)) == "beta"
    assert state.at("phase", late) == "retiring"
    assert state.at("name", late) == "licence-finder"
