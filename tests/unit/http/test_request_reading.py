"""Reading into models: faults point into what was sent and repeat none of it."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from shared.http.problems import Problem
from shared.http.request_reading import read_model, read_query
from shared.http.strict_json import parse_json


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Cat(Strict):
    kind: Literal["cat"]
    lives: int


class Dog(Strict):
    kind: Literal["dog"]
    name: str

    @field_validator("name")
    @classmethod
    def check_name(cls, name: str) -> str:
        if name == "rex":
            raise ValueError("is taken")
        return name


class Home(Strict):
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]]
    guest: Cat | str | None = None


@pytest.mark.parametrize(
    ("raw", "pointers"),
    [
        (b'{"pets":[{"kind":"cat","lives":"canary"}]}', ["/pets/0/lives"]),
        (b'{"pets":[{"kind":"cat"}]}', ["/pets/0/lives"]),
        (b'{"pets":[{"kind":"canary"}]}', ["/pets/0"]),
        (b'{"pets":[{"kind":"dog","name":"rex"}]}', ["/pets/0/name"]),
        (b'{"pets":[{}]}', ["/pets/0"]),
        (b'{"pets":[],"guest":{"kind":"cat","lives":"canary"}}', ["/guest/lives", "/guest"]),
        (b'{"pets":[],"a/b~c":"canary"}', ["/a~1b~0c"]),
        (b"{}", ["/pets"]),
        (b'"canary"', [""]),
    ],
)
def test_a_fault_points_into_what_was_sent_and_repeats_none_of_it(
    raw: bytes, pointers: list[str]
) -> None:
    with pytest.raises(Problem) as refused:
        read_model(raw, parse_json(raw), Home)
    assert [fault.pointer for fault in refused.value.errors] == pointers
    assert "canary" not in "".join(fault.detail for fault in refused.value.errors)


def test_a_list_may_be_a_body() -> None:
    raw = b'[{"kind":"cat","lives":9}]'
    assert read_model(raw, parse_json(raw), TypeAdapter(list[Cat])) == [Cat(kind="cat", lives=9)]


def test_a_thousand_faults_are_not_all_told() -> None:
    raw = b'{"pets":[' + b",".join([b"1"] * 1000) + b"]}"
    with pytest.raises(Problem) as refused:
        read_model(raw, parse_json(raw), Home)
    assert len(refused.value.errors) == 50


def test_a_query_is_decoded_once() -> None:
    assert read_query("a=%2541&b=x+y&c") == {"a": "%41", "b": "x y", "c": ""}


class Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    phase: Literal["unknown", "alpha", "live"] | None = None


@pytest.mark.parametrize(
    ("raw", "model", "detail"),
    [
        (b'{"pets":[{"kind":"dog"}]}', Home, "Field required"),
        (b"[]", Home, "must be an object"),
        (b'{"pets":{}}', Home, "must be an array"),
        (b'{"phase":"canary"}', Wanted, "must be 'unknown', 'alpha' or 'live'"),
    ],
)
def test_a_fault_is_said_once_and_in_words(raw: bytes, model: type[BaseModel], detail: str) -> None:
    with pytest.raises(Problem) as refused:
        read_model(raw, parse_json(raw), model)
    assert [fault.detail for fault in refused.value.errors] == [detail]
