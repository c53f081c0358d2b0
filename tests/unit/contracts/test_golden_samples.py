"""Every event version ever written stays readable and keeps its meaning, byte for byte."""

import hashlib
import json
from pathlib import Path

import jsonschema_rs
import orjson
import pytest

from shared.contracts.canonical import canonical_bytes, check_canonical
from shared.contracts.envelope import leaf_of, parse_event, seal
from shared.contracts.events import EVENT_MODELS, read_data
from shared.contracts.events.upcasters import UPCASTERS
from shared.contracts.schemas import FOLDER, rendered
from tests.support.golden import EXPECTED, GOLDEN, facts_of
from tests.support.samples import DATA_SAMPLES

SAMPLES = sorted(GOLDEN.glob("*.json"))
EVERY_TYPE = {*EVENT_MODELS, *UPCASTERS}


def of_each_sample() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)


def test_every_type_and_version_has_a_sample_and_an_expectation() -> None:
    """A new one is made by `python -m tests.support.golden`."""
    assert {path.stem for path in SAMPLES} == EVERY_TYPE == set(DATA_SAMPLES)
    assert {path.stem for path in EXPECTED.glob("*.json")} == EVERY_TYPE


def test_the_samples_show_every_member_of_every_model() -> None:
    for event_type, model in EVENT_MODELS.items():
        members = {field.alias or name for name, field in model.model_fields.items()}
        shown = set(orjson.loads((GOLDEN / f"{event_type}.json").read_bytes())["data"])
        assert members - shown <= {"reason", "corrects"}, event_type


@of_each_sample()
def test_a_sample_is_the_canonical_form_of_its_event(sample: Path) -> None:
    body = sample.read_bytes()
    tree = orjson.loads(body)
    check_canonical(tree)
    assert canonical_bytes(tree) == body
    assert parse_event(body).type == tree["type"] == sample.stem


@of_each_sample()
def test_a_sample_sealed_again_gives_the_same_bytes_and_leaf(sample: Path) -> None:
    body = sample.read_bytes()
    attributes = orjson.loads(body)
    data, salt = attributes.pop("data"), bytes.fromhex(attributes.pop("datasalt"))
    stated = attributes.pop("datahash")
    again, leaf = seal(attributes, data, salt)
    assert again == body
    assert leaf == leaf_of(body)
    assert stated == hashlib.sha256(salt + canonical_bytes(data)).hexdigest()


@of_each_sample()
def test_current_code_reads_a_sample_and_finds_what_it_always_meant(sample: Path) -> None:
    body = sample.read_bytes()
    expected = json.loads((EXPECTED / sample.name).read_text())
    assert leaf_of(body).hex() == expected["leaf"]
    assert json.loads(json.dumps(facts_of(body))) == expected["facts"]


@of_each_sample()
def test_the_data_of_a_current_type_is_written_as_it_was_read(sample: Path) -> None:
    event = parse_event(sample.read_bytes())
    data = read_data(event)
    assert data is not None
    if event.type in EVENT_MODELS:
        assert type(data) is EVENT_MODELS[event.type]
        assert data.to_json() == event.data
    else:
        assert event.type in UPCASTERS


def test_schemas_are_those_of_the_models() -> None:
    """Out of date? `python -m shared.contracts.schemas` writes them."""
    files = {path: path.read_bytes() for path in FOLDER.glob("*.json")}
    assert files == rendered()


@of_each_sample()
def test_a_sample_fits_the_published_schemas(sample: Path) -> None:
    tree = orjson.loads(sample.read_bytes())
    jsonschema_rs.validate(orjson.loads((FOLDER / "envelope.json").read_bytes()), tree)
    if sample.stem in EVENT_MODELS:
        schema = orjson.loads((FOLDER / f"{sample.stem}.json").read_bytes())
        jsonschema_rs.validate(schema, tree["data"])


def test_the_schema_of_the_envelope_admits_what_was_redacted_and_nothing_by_half() -> None:
    check = jsonschema_rs.validator_for(orjson.loads((FOLDER / "envelope.json").read_bytes()))
    tree = orjson.loads((GOLDEN / "estate.service.delisted.v1.json").read_bytes())
    redacted = {k: v for k, v in tree.items() if k not in {"data", "datasalt"}}
    assert check.is_valid(redacted)
    assert not check.is_valid({k: v for k, v in tree.items() if k != "datasalt"})
    assert not check.is_valid(tree | {"position": "0"})
    for name in redacted:
        lacking = {k: v for k, v in tree.items() if k != name}
        assert check.is_valid(lacking) == (name == "organisation"), name
