"""Owns the tests of how a line that does not fit its file is refused."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.importing.govuk_repos import read_rows
from cli.importing.source_rows import SourceLineError


def text_of(seq: int, key: str, change: str, **more: Any) -> str:
    when = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=seq)
    common = {
        "seq": seq,
        "date": when.isoformat().replace("+00:00", "Z"),
        "commit": f"{seq:010x}",
        "change": change,
        "key": key,
        "subject": "Merge",
    }
    return json.dumps({**common, **more})


def added(seq: int, key: str, row: dict[str, Any]) -> str:
    return text_of(seq, key, "added", row=row)


def removed(seq: int, key: str) -> str:
    return text_of(seq, key, "removed")


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        ("{", "Invalid JSON"),
        ("[]", "line 2: "),
        ('{"change": "moved"}', "'moved'"),
        ('{"change": "removed", "seq": 2}', "removed.date: Field required"),
    ],
)
def test_line_of_the_wrong_form_is_named(tmp_path: Path, bad: str, fault: str) -> None:
    path = tmp_path / "history.ndjson"
    path.write_text("\n".join([added(1, "a", {}), bad]), encoding="utf-8")
    with pytest.raises(SourceLineError, match=r"^history.ndjson, line 2: ") as caught:
        list(read_rows(path))
    assert fault in str(caught.value)


def test_unmasked_person_is_refused_and_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "history.ndjson"
    path.write_text(added(1, "a", {"product_manager": "Ada Lovelace"}), encoding="utf-8")
    with pytest.raises(SourceLineError, match="product_manager") as caught:
        list(read_rows(path))
    assert "Lovelace" not in str(caught.value)


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        ({"seq": 3}, "seq is 3"),
        ({"date": "2000-01-01T00:00:00Z"}, "date is before"),
        ({"commit": "0000000001"}, "date differs"),
    ],
)
def test_line_out_of_order_is_named(tmp_path: Path, second: dict[str, Any], fault: str) -> None:
    path = tmp_path / "history.ndjson"
    moved = {**json.loads(removed(2, "a")), **second}
    path.write_text("\n".join([added(1, "a", {}), json.dumps(moved)]), encoding="utf-8")
    with pytest.raises(SourceLineError, match=f"line 2: {fault}"):
        list(read_rows(path))
