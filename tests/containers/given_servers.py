"""Owns telling apart, on given servers, a test that must stop a server from a test that fails.

Must not excuse anything else. A pytest plugin: `-p tests.containers.given_servers`.
"""

from collections.abc import Generator, Iterator

import pytest

from deploy.local.errors import LaunchError

_REFUSAL = "was not started here"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.excinfo is not None and report.failed and _is_refusal(call.excinfo.value):
        report.outcome = "skipped"
        path, line, _ = item.location
        reason = f"Skipped: it stops a server, which takes one of our own: {call.excinfo.value}"
        report.longrepr = (path, (line or 0) + 1, reason)
    return report


def _is_refusal(error: BaseException) -> bool:
    return any(isinstance(e, LaunchError) and _REFUSAL in str(e) for e in _leaves(error))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error
