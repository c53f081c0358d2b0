"""The first steps of the README, and the lines that the demo prints, run as they are written."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.support.demo_runs import ROOT, Demonstrated, own_servers
from tests.support.source_reading import Reading

pytestmark = pytest.mark.timeout(400)

SECTION = "## Your first event in five minutes\n"
FENCE = re.compile(r"```(?P<language>sh|python)\n(?P<code>.*?)```", re.DOTALL)


def readme_blocks() -> list[tuple[str, str]]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split(SECTION)[1].split("\n## ")[0]
    return [(match["language"], match["code"]) for match in FENCE.finditer(section)]


def printed_lines(run: Demonstrated) -> Iterator[str]:
    _, _, lines = run.again.shown.partition("Try this, in another terminal, in this folder\n")
    return (line.strip() for line in lines.splitlines() if line.strip())


async def pasted(script: str, folder: Path) -> str:
    """What a shell says to it; it must end well."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-ec", script),
        cwd=folder,
        env=own_servers(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(90):
        output, _ = await process.communicate()
    assert process.returncode == 0, f"{script}\n{output.decode()}"
    return output.decode()


async def streamed(script: str, folder: Path) -> str:
    """What it streams up to the first event; then it is ended."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", script),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            said = b""
            while b"\ndata: {" not in said:
                said += await process.stdout.readuntil(b"\n\n")
            return said.decode()
    finally:
        # Not an interrupt: children of a run in the background may be deaf to those.
        os.killpg(process.pid, signal.SIGTERM)
        await process.communicate()


@pytest.fixture
def folder(demonstrated: Demonstrated, tmp_path: Path) -> Path:
    (tmp_path / ".estate").symlink_to(demonstrated.state)
    return tmp_path


async def test_first_event_works_as_written(folder: Path, reading: Reading) -> None:
    blocks = readme_blocks()
    assert [language for language, _ in blocks] == ["sh", "sh", "sh", "python", "sh", "sh"]
    said = [await _run(language, code, folder) for language, code in blocks]
    looked, registered, submitted, asked, followed, verified = said

    assert reading.repos.owners().most_common(1)[0][0] in looked
    assert "whitehall" in looked
    assert json.loads(registered)["id"].startswith("svc_")
    assert "accepted" in submitted
    listed = len(reading.repos.listed(date(2020, 3, 31)))
    assert asked.splitlines() == [
        "Bin collection days is in beta",
        f"GOV.UK listed {listed} applications in March 2020",
    ]
    types = [event["type"] for event in _streamed(followed)]
    assert types == ["estate.service.registered.v1", "estate.service.phase_changed.v1"]
    assert re.search(r"registry .* ok", verified)
    assert re.search(r"dependencies .* ok", verified)
    assert "Equal, row for row" in verified


async def _run(language: str, code: str, folder: Path) -> str:
    if language == "sh":
        return await pasted(f". .estate/env\n{code}", folder)
    (folder / "block.py").write_text(code, encoding="utf-8")
    return await pasted(f". .estate/env\n{sys.executable} -I block.py", folder)


def _streamed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


async def test_first_event_can_be_sent_again(folder: Path) -> None:
    _look, register, submit, *_ = (code for _, code in readme_blocks())
    first = await pasted(f". .estate/env\n{register}", folder)
    again = await pasted(f". .estate/env\n{register}{submit}", folder)

    assert again.startswith(first.strip())


async def test_lines_the_demo_prints_work_when_pasted(
    demonstrated: Demonstrated, reading: Reading
) -> None:
    most = demonstrated.again.report["most_depended_upon_infrastructure"]
    unowned = [k for k, a in reading.repos.listed(date(2017, 6, 30)).items() if a.team is None]
    needed = {link[0][1] for link in reading.links() if link[1] == ("service", "publishing-api")}
    infrastructure = most["name"]
    needing = {link[0][1] for link in reading.links() if link[1][1] == infrastructure}
    assert unowned
    assert needed
    assert len(needing) == most["dependents"]
    expected = {
        "estate owners": [*dict(reading.repos.owners().most_common(4))],
        "estate services --owner none": unowned,
        "estate history licence-finder": ["registered"],
        "estate depends publishing-api --by": sorted(needed),
        f"estate depends {infrastructure} --by": sorted(needing),
        "estate verify --against": ["registry", "dependencies", "ok"],
        "/v1/services/licence-finder?as_of=": ['"slug":"licence-finder"'],
        "/v1/submissions": ['"status":403', "/not-yours"],
        "/v1/changes/stream'": ["data: {"],
    }
    lines = [line for line in printed_lines(demonstrated) if not line.startswith("#")]
    assert len(lines) == len(expected)
    for line, (part, words) in zip(lines, expected.items(), strict=True):
        assert part in line
        is_endless = "/stream'" in line
        said = await (streamed(line, ROOT) if is_endless else pasted(line, ROOT))
        assert [word for word in words if word not in said] == [], said
