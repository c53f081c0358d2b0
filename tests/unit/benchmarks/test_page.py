from typing import Any

from benchmarks.document import page
from benchmarks.measuring import Bar, Line, Report, Series

MACHINE = {
    "cpu": "made up",
    "cores": 2,
    "memory_gib": 4,
    "system": "Linux 6",
    "python": "3.11",
    "postgres": "18",
    "kafka": "4",
    "packages": {"orjson": "3"},
}


def result(*lines: Line, commit: str | None = "0123abc") -> dict[str, Any]:
    return {
        "command": "python -m benchmarks append --size 10",
        "measured_at": "2026-01-31T09:00:00+00:00",
        "took_s": 3,
        "load_average_before": 0.1,
        "load_average_after": 0.2,
        "commit": commit,
        "machine": MACHINE,
        **Report(lines=list(lines), checks=["all of it"], notes=["a note"]).document(),
    }


def section(text: str, name: str) -> str:
    return text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def test_a_section_says_how_many_values_there_are() -> None:
    once, thrice = Line("rest", Series((1,), "MiB")), Line("rate", Series((1, 2, 3), "a second"))
    text = page({"memory": result(once), "append": result(thrice)})
    assert ", 1 round, " in section(text, "memory")
    assert ", 3 rounds, " in section(text, "append")


def test_a_section_names_the_commit_that_was_measured() -> None:
    line = Line("rate", Series((1,), "a second"))
    text = page({"append": result(line), "verify": result(line, commit=None)})
    assert "commit 0123abc." in section(text, "append")
    assert "commit not recorded." in section(text, "verify")


def test_a_bar_that_is_missed_stays_on_the_page() -> None:
    bars = (Bar("value", ">=", 10), Bar("ratio", "<=", 2))
    line = Line("rate", Series((8,), "a second"), Series((4,), "a second"), "a peer", bars)
    assert "value ≥ 10: **missed**; ratio ≤ 2: met" in section(
        page({"append": result(line)}), "Results"
    )


def test_choices_have_a_table_of_their_own_that_says_why() -> None:
    sides = (Series((2,), "a second"), Series((1,), "a second"))
    text = page(
        {"choices": result(Line("parser", *sides, "the other", chosen="ours: it is quick"))}
    )
    row = "| parser | 2 a second | 1 a second (the other) | 2.00 | ours: it is quick |"
    assert row in section(text, "choices")
    assert "| parser |" not in section(text, "Results")
    assert "[choices](#choices)" in section(text, "Results")
