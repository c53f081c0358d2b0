"""Owns docs/benchmarks.md: made from the kept results, never by hand.

Must not measure.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.measuring import verdict

PAGE: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"

_INTRODUCTION: Final = """# Benchmarks

Each number stands beside a raw limit or a peer that was measured in the same run, on the same
servers, in turns (A B, B A, A B). Shown are the median of the rounds and, in brackets, the lowest
and the highest; a ratio is that of the two sides in one round, so its median need not be that of
the medians beside it. A bar is what was asked for beforehand; it is met when every round reaches
it, and one that is missed stays here. Each benchmark also checks its result: one that loses,
doubles or reorders anything has no speed.

    make bench                  # all of them
    make bench NAME=append      # one
    python -m benchmarks append --size 100000 --json FILE   # of another size, kept elsewhere
    python -m benchmarks --docs-only --write-docs           # this page anew

This page is made from `benchmarks/results.json`, where the last result of each is kept.
"""

_WHERE_THE_TIME_GOES: Final = {
    "append": (
        "Of 40 to 75 us an event, deciding and sealing take 25 to 30 in one Python process, "
        "writing 12 (24 with a command for each event), the commit 2 to 4, the questions "
        "before it 3 to 4. COPY alone takes 9 to 14, nearly all in the server. The settings of "
        "the garbage collector, as a service has them, took a third off deciding and sealing. "
        "The bar is out of reach while one interpreter seals: with the whole of sealing in "
        "native code, or the next batch sealed while one is written, about half of the time "
        "would go. To write a part of a batch while the next part is decided, in its one "
        "transaction, was tried with parts of 200 and of 1,000 rows, and gained nothing: smaller "
        "statements cost both sides what the overlap saves."
    ),
    "append-peer": (
        "One caller alone waits for the six round trips of a commit: gate, head with known "
        "commands, names, streams, rows, commit. To decide on the cached head, and hand the batch "
        "to one statement that checks the head under the gate, would make it one. In large "
        "commits both sides are bound by their own processor time; the peer neither decides nor "
        "hashes. There it takes what `append` needs: sealing in native code, or while the batch "
        "before is written."
    ),
    "http": (
        "The registry's process is full: 450 to 550 us of processor time a command, of which "
        "the HTTP layer takes a third, the log writer a fifth, the request's log line a "
        "tenth, the projection a tenth, the relay and Kafka's client a twelfth. PostgreSQL, "
        "Kafka and the load take another 300 us on the same two cores. Another event loop "
        "(uvloop) gave 6 to 10 percent, rarer collections of garbage 10 percent and half of "
        "the 99th percentile; the latter are set. More needs relay and projection in a "
        "process of their own."
    ),
    "intake": (
        "One process, 150 to 250 us a submission: a third reads the envelope and its data "
        "strictly, a third decides and seals, the rest is the client of Kafka and the "
        "statements of a batch. Reading does not depend on the log: in a process of its own it "
        "would leave 100 to 170 us here, where the bar is 100."
    ),
    "relay": (
        "One process reads the log and sends. Reading alone is what `rebuild` has beside it, 3 to "
        "4 us an event; sending alone is the raw side here, 3 to 5. What is left of 9 us proves "
        "the topic's place, builds batches and notes how far it came. To read in a process of "
        "its own would leave about half."
    ),
    "rebuild": (
        "Of 60 us an event, 14 fold, 7 parse, 8 wait for COPY, 5 are checkpoints and commits; "
        "derived rows take 11 and indexes 10 once at the end. All but the last two are one "
        "Python process. Handlers are pure, so folding and parsing could be spread over "
        "processes where there are cores: over two that takes 10 us off, over four 16. The bar "
        "of 17 us in all also needs COPY, derived rows and indexes to run beside them."
    ),
    "reads": (
        "A service by id is five statements in one snapshot, 0.2 to 0.5 ms each with the "
        "server; half of a question's time is processor time of the registry. A page of 50 "
        "spends a third in its handler: reading some 650 facts over asyncpg, of which decoding "
        "instants is a third, and building the documents, a fifth. The rest is the event loop, "
        "the socket and the other tasks of the process. Documents kept ready beside the row of "
        "each service would take off most of the handler's third."
    ),
    "verify": (
        "Every event is parsed, hashed twice and put back into its canonical form by code of "
        "the verifier's own, on two processes. Of one process's time, 13.5 us an event open it, "
        "of which writing the data again is 1.5 and the two hashes 2; 1.3 unpack the row, 1 "
        "grows the tree. Events are opened one without the other, so the rate grows with the "
        "cores; on two, which PostgreSQL shares, it takes an envelope read by native code."
    ),
}
"""What was found by profiling; to be looked at anew when a number moves."""


def write_page(results: Mapping[str, Any]) -> None:
    """Write the page."""
    PAGE.write_text(page(results))


def page(results: Mapping[str, Any]) -> str:
    """The page that these results make."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Mapping[str, Any]) -> Iterator[str]:
    yield _INTRODUCTION
    yield from _machines(results)
    yield "\n## Results\n"
    yield "| benchmark | measured | ours | beside it | ratio | bar |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, result in results.items():
        for index, line in enumerate(_held_to(result)):
            yield _row(f"[{name}](#{name})" if index == 0 else "", line)
    yield from _where_choices_are(results)
    for name, result in results.items():
        yield from _section(name, result)


def _machines(results: Mapping[str, Any]) -> Iterator[str]:
    yield "## Measured on\n"
    seen: list[Any] = []
    for result in results.values():
        if result["machine"] not in seen:
            seen.append(result["machine"])
    for machine in seen:
        packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
        yield (
            f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
            f"{machine['system']}; Python {machine['python']}, PostgreSQL {machine['postgres']}, "
            f"Apache Kafka {machine['kafka']}; {packages}. Servers, services and load share the "
            "cores."
        )


def _held_to(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The lines that are no choices."""
    return [line for line in result["lines"] if not line.get("chosen")]


def _row(name: str, line: Mapping[str, Any]) -> str:
    against = line["against"]
    beside = "" if against is None else f"{_series(against)} ({line['against_what']})"
    ratio = "" if line["ratio"] is None else _ratio(line["ratio"])
    bars = "; ".join(_judged(bar, len(line["ours"]["rounds"])) for bar in line["bars"])
    return f"| {name} | {line['what']} | {_series(line['ours'])} | {beside} | {ratio} | {bars} |"


def _ratio(series: Mapping[str, Any]) -> str:
    return f"{series['median']:.2f} ({series['min']:.2f}-{series['max']:.2f})"


def _judged(bar: Mapping[str, Any], rounds: int) -> str:
    said = verdict(bar["met_rounds"], rounds)
    return f"{_escaped(bar['bar'])}: {said if said == 'met' else f'**{said}**'}"


def _series(series: Mapping[str, Any]) -> str:
    numbers = (_number(series[one]) for one in ("median", "min", "max"))
    median, low, high = numbers
    spread = "" if len(series["rounds"]) == 1 else f" ({low}-{high})"
    return f"{median}{spread} {series['unit']}"


def _number(value: float) -> str:
    if value >= 100:  # noqa: PLR2004 - three digits that mean something.
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _escaped(text: str) -> str:
    return text.replace(">=", "≥").replace("<=", "≤")


def _section(name: str, result: Mapping[str, Any]) -> Iterator[str]:
    yield f"\n## {name}\n"
    yield (
        f"`{result['command']}`, {_rounds(result)}, {result['took_s']} s, load average "
        f"{result['load_average_before']} before and {result['load_average_after']} after, "
        f"{result['measured_at'][:10]}, {_commit(result)}."
    )
    for note in (*result["notes"], *_where_the_time_goes(name)):
        yield f"\n{note}"
    yield from _choices(result)
    yield "\nChecked:\n"
    for check in result["checks"]:
        yield f"- {check}"


def _where_choices_are(results: Mapping[str, Any]) -> Iterator[str]:
    for name, result in results.items():
        if any(line.get("chosen") for line in result["lines"]):
            yield f"\nWhat was chosen by measurement, and why: [{name}](#{name})."


def _choices(result: Mapping[str, Any]) -> Iterator[str]:
    lines = [line for line in result["lines"] if line.get("chosen")]
    if lines:
        yield "\n| measured | chosen | beside it | ratio | what, and why |"
        yield "| --- | --- | --- | --- | --- |"
    for line in lines:
        beside = f"{_series(line['against'])} ({line['against_what']})"
        ratio = f"{line['ratio']['median']:.2f}"
        ours = _series(line["ours"])
        yield f"| {line['what']} | {ours} | {beside} | {ratio} | {line['chosen']} |"


def _rounds(result: Mapping[str, Any]) -> str:
    """How many values each number is the median of."""
    count = max(len(line["ours"]["rounds"]) for line in result["lines"])
    return f"{count} round{'s' if count > 1 else ''}"


def _commit(result: Mapping[str, Any]) -> str:
    measured = result.get("commit")
    return f"commit {measured}" if measured else "commit not recorded"


def _where_the_time_goes(name: str) -> Iterator[str]:
    if name in _WHERE_THE_TIME_GOES:
        yield f"Where the time goes: {_WHERE_THE_TIME_GOES[name]}"
