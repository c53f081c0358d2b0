"""Owns making the first golden sample of an event type: `python -m tests.support.golden`.

Must not touch a sample that is there: its bytes are what a log somewhere holds.
"""

import json
from pathlib import Path
from typing import Any, Final

from shared.contracts.envelope import leaf_of, parse_event, seal
from shared.contracts.events import EVENT_MODELS, read_data
from shared.contracts.facts.dependencies import dependency_facts
from shared.contracts.facts.organisations import organisation_facts
from shared.contracts.facts.services import service_facts
from tests.support.builders import CABINET, LICENCES, LINK
from tests.support.ids import numbered
from tests.support.samples import DATA_SAMPLES

ROOT: Final = Path(__file__).parents[2]
GOLDEN: Final = ROOT / "shared" / "contracts" / "golden"
EXPECTED: Final = ROOT / "tests" / "unit" / "contracts" / "expected"
_SUBJECTS: Final = {"organisation": CABINET, "service": LICENCES, "dependency": LINK}


def facts_of(body: bytes) -> list[list[Any]]:
    """What an event states, as JSON."""
    event = parse_event(body)
    kind = event.type.split(".", 2)[1]
    extract: Any = {
        "organisation": organisation_facts,
        "service": service_facts,
        "dependency": dependency_facts,
    }[kind]
    return [[name, value] for name, value in extract(read_data(event))]


def _sample(event_type: str, number: int) -> bytes:
    kind = event_type.split(".", 2)[1]
    log = "dependencies" if kind == "dependency" else "registry"
    model = EVENT_MODELS.get(event_type)
    data = DATA_SAMPLES[event_type]
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": numbered("evt_", number),
        "source": f"estate/{log}",
        "type": event_type,
        "subject": _SUBJECTS[kind],
        "time": "2026-01-31T09:00:00.000000Z",
        "datacontenttype": "application/json",
        "position": str(number),
        "timeline": "1",
        "streamversion": "1",
        "recordedtime": "2026-02-01T10:11:12.131415Z",
        "actor": "prn_5f2b",
        "credentialid": "9c1e44d0",
        "organisation": CABINET,
        "door": "kafka",
        "correlationid": "corr-2026-02-01",
        "causationid": f"submission:{CABINET}:govuk-repos:{number}",
    }
    logged = data if model is None else model.model_validate(data).to_json()
    body, _ = seal(attributes, logged, bytes(range(number, number + 16)))
    return body


def main() -> None:
    """Write what is missing: the sample, and what is expected of it for ever."""
    GOLDEN.mkdir(exist_ok=True)
    EXPECTED.mkdir(exist_ok=True)
    for number, event_type in enumerate(sorted(DATA_SAMPLES), 1):
        sample, expected = GOLDEN / f"{event_type}.json", EXPECTED / f"{event_type}.json"
        if not sample.exists():
            sample.write_bytes(_sample(event_type, number))
        if not expected.exists():
            body = sample.read_bytes()
            document = {"leaf": leaf_of(body).hex(), "facts": facts_of(body)}
            expected.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
