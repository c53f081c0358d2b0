import pytest

from shared.service.repairing import repair_log

ACT = ("lift-halt", "--by", "operator-7", "--reason", "the topic is right again")


def no_dsn() -> str:
    raise AssertionError


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("forget",),
        ("lift-halt",),
        ("lift-halt", "--by", "operator-7"),
        (*ACT[:2], "", *ACT[3:]),
        (*ACT[:4], "two\nlines"),
        (*ACT, "more"),
    ],
)
def test_wrong_use_is_told_before_the_database_is_looked_for(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        repair_log("registry", arguments, no_dsn)
    assert ended.value.code == 2


def test_help_names_the_acts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        repair_log("registry", ["--help"], no_dsn)
    shown = capsys.readouterr().out
    assert all(act in shown for act in ("lift-halt", "new-publication", "new-timeline"))


def test_a_database_that_is_away_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        repair_log("registry", ACT, lambda: "postgresql://a:b@127.0.0.1:9/c")
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("The database does not answer: ")
