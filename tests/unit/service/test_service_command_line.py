import errno

import pytest

from shared.service import main


def test_a_port_that_is_taken_is_told_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    async def serve() -> None:
        raise OSError(errno.EADDRINUSE, "error while attempting to bind on address")

    with pytest.raises(SystemExit) as ended:
        main._run(serve())
    assert ended.value.code == 2
    assert "another <SERVICE>_HTTP_PORT" in capsys.readouterr().err


def test_another_fault_is_not_taken_for_a_port() -> None:
    async def serve() -> None:
        raise OSError(errno.EIO, "of the disk")

    with pytest.raises(OSError, match="of the disk"):
        main._run(serve())
