import socket

import pytest
from aiohttp import web

from services.registry.config import RegistryOwnerSettings, RegistrySettings
from shared.http.server import CannotListenError, serve
from shared.service import main


async def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListenError, match=rf"'127.0.0.1' port {port}: .*in use"):
            await serve(web.Application(), "127.0.0.1", port).__aenter__()


@pytest.mark.parametrize("host", ["not.an.address.invalid", "two..dots", "192.0.2.1", "\0"])
async def test_an_address_that_is_not_to_be_had_is_told(host: str) -> None:
    with pytest.raises(CannotListenError, match="cannot listen on"):
        await serve(web.Application(), host, 0).__aenter__()


def test_wrong_use_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def build(*_settings: object) -> object:
        raise AssertionError

    with pytest.raises(SystemExit) as ended:
        main.main("registry", RegistrySettings, RegistryOwnerSettings, build, ["start"])  # type: ignore[arg-type]
    assert ended.value.code == 2
    assert main.USAGE in capsys.readouterr().err
