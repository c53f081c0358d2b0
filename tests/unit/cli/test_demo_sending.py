from datetime import UTC, datetime

from cli.demo.sending import _refusal
from cli.importing.submission import Submission
from shared.http.problems import INVALID_REQUEST, Fault, Problem


def test_a_refused_import_says_in_words_why() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    one = Submission("urn:x", "row-7", "service.register", "svc:a", when, "c", {}, "http")
    fault = Fault("/data/name", "is longer than 200 characters")
    problem = Problem(INVALID_REQUEST, errors=[fault])
    text = _refusal(one, problem.document())
    assert text.startswith("urn:x row-7 (estate.service.register.v1) was refused: ")
    assert text.endswith("/data/name is longer than 200 characters")
    assert "{" not in text
    assert _refusal(one, None).endswith("no reason is known")
