from typing import Any

import pytest
from pydantic import ValidationError

from services.registry.organisations.routes import COMMANDS as ORGANISATION_COMMANDS
from services.registry.services.commands import (
    AddAlias,
    AssignRole,
    ChangeDetails,
    ChangePhase,
    MoveService,
    RegisterService,
    RetireService,
    SetVisibility,
    VacateRole,
)
from services.registry.services.routes import COMMANDS
from shared.commands.command import CommandBody, CommandType

EVERY_COMMAND = (*ORGANISATION_COMMANDS, *COMMANDS)
REGISTRATION = {"name": "Licence Finder", "kind": "component"}
ASSIGNMENT = {"role": "owning-team", "holder": "team-one", "previous_holder": None}


def each(base: dict[str, Any], **wrong: Any) -> dict[str, Any]:
    return base | wrong


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda one: one.name)
def test_every_example_is_a_body_of_its_command(command: CommandType[Any]) -> None:
    command.body.model_validate(dict(command.example))


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda one: one.name)
@pytest.mark.parametrize(
    "member", ["department", "actor", "version", "recorded_at", "is_admin", "registrant", "id"]
)
def test_no_body_takes_a_member_that_it_does_not_name(
    command: CommandType[Any], member: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        command.body.model_validate({**command.example, member: "x"})
    assert [fault["type"] for fault in refused.value.errors()] == ["extra_forbidden"]


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda one: one.name)
@pytest.mark.parametrize("wrong", [7, True, ["x"], {"x": 1}, 1.5])
def test_no_text_or_choice_is_made_from_another_type(
    command: CommandType[Any], wrong: object
) -> None:
    texts = [name for name, value in command.example.items() if isinstance(value, str)]
    for name in texts:
        with pytest.raises(ValidationError):
            command.body.model_validate({**command.example, name: wrong})


@pytest.mark.parametrize(
    ("model", "tree"),
    [
        (RegisterService, {"kind": "component"}),
        (RegisterService, {"name": "x"}),
        (RegisterService, each(REGISTRATION, kind="Component")),
        (RegisterService, each(REGISTRATION, kind=None)),
        (RegisterService, each(REGISTRATION, name="\u200f")),
        (RegisterService, each(REGISTRATION, name="a\tb")),
        (RegisterService, each(REGISTRATION, slug="-x")),
        (RegisterService, each(REGISTRATION, slug="none")),
        (RegisterService, each(REGISTRATION, slug="x" * 101)),
        (RegisterService, each(REGISTRATION, phase="dead")),
        (RegisterService, each(REGISTRATION, visibility="secret")),
        (RegisterService, each(REGISTRATION, visibility=None)),
        (RegisterService, each(REGISTRATION, description="")),
        (RegisterService, each(REGISTRATION, description="x" * 5001)),
        (RegisterService, each(REGISTRATION, organisation="")),
        (RegisterService, each(REGISTRATION, organisation="Cabinet Office")),
        (RegisterService, each(REGISTRATION, organisation="crm:\u202e")),
        (RegisterService, each(REGISTRATION, organisation="crm:a\u200bb")),
        (RegisterService, each(REGISTRATION, organisation="org_1")),
        (RegisterService, each(REGISTRATION, aliases=["CRM:1"])),
        (RegisterService, each(REGISTRATION, aliases=["crm:"])),
        (RegisterService, each(REGISTRATION, aliases=["crm:" + "x" * 201])),
        (RegisterService, each(REGISTRATION, attributes={"set": {}})),
        (RegisterService, each(REGISTRATION, attributes={"source": "CRM"})),
        (RegisterService, each(REGISTRATION, attributes={"source": "crm", "more": 1})),
        (RegisterService, each(REGISTRATION, attributes={"source": "crm", "set": {"a b": 1}})),
        (RegisterService, each(REGISTRATION, attributes={"source": "crm", "set": {"a": 1.5}})),
        (RegisterService, each(REGISTRATION, attributes={"source": "crm", "set": {"a": 2**53}})),
        (
            RegisterService,
            each(REGISTRATION, attributes={"source": "crm", "set": {"a": "e\u0301"}}),
        ),
        (RegisterService, each(REGISTRATION, attributes={"source": "crm", "set": {"a": {"é": 1}}})),
        (
            RegisterService,
            each(
                REGISTRATION,
                attributes={"source": "crm", "set": dict.fromkeys(map(str, range(101)))},
            ),
        ),
        (
            RegisterService,
            each(
                REGISTRATION, attributes={"source": "crm", "unset": [f"a{n}" for n in range(101)]}
            ),
        ),
        (ChangeDetails, {}),
        (ChangeDetails, {"reason": "just so"}),
        (ChangeDetails, {"name": None}),
        (ChangeDetails, {"kind": None}),
        (ChangeDetails, {"description": ""}),
        (ChangeDetails, {"slug": "other"}),
        (ChangeDetails, {"attributes": {"source": "crm", "set": {"a": 1}, "unset": ["a"]}}),
        (MoveService, {}),
        (MoveService, {"organisation": None}),
        (ChangePhase, {}),
        (ChangePhase, {"phase": "Live"}),
        (RetireService, {"successor": ""}),
        (AddAlias, {}),
        (AddAlias, {"alias": "licence-finder"}),
        (AddAlias, {"alias": "contact:c-204"}),
        (AddAlias, {"alias": "crm:a\x00b"}),
        (AddAlias, {"alias": "crm:a\u2066b"}),
        (SetVisibility, {}),
        (SetVisibility, {"visibility": None}),
        (AssignRole, {"role": "owning-team", "holder": "team-one"}),
        (AssignRole, each(ASSIGNMENT, role="boss")),
        (AssignRole, each(ASSIGNMENT, holder=None)),
        (VacateRole, {"role": "owning-team"}),
        (VacateRole, {"role": "owning-team", "holder": None}),
    ],
)
def test_a_malformed_body_is_refused(model: type[CommandBody], tree: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(tree)


@pytest.mark.parametrize(
    "holder",
    [
        "Jane Doe",
        "jane.doe@example.gov.uk",
        "contact:Jane Doe",
        "contact:jane.doe@example.gov.uk",
        "contact:Jane",
        "contact:" + "x" * 65,
        "contact:",
    ],
)
def test_a_holder_that_reads_like_a_person_is_no_opaque_contact(holder: str) -> None:
    for member in ("holder", "previous_holder"):
        with pytest.raises(ValidationError):
            AssignRole.model_validate({**ASSIGNMENT, member: holder})


def test_null_and_absent_are_told_apart() -> None:
    assert ChangeDetails.model_validate({"description": None}).model_fields_set == {"description"}
    assert ChangePhase.model_validate({"phase": None}).phase is None
    assert AssignRole.model_validate(ASSIGNMENT).previous_holder is None


def test_a_body_cannot_be_changed_once_read() -> None:
    body = AddAlias(alias="crm:1")
    with pytest.raises(ValidationError):
        body.alias = "crm:2"  # type: ignore[misc]
