"""Owns the fixtures that serve the sample service on loopback."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from shared.http.routing import build_app
from shared.http.server import RunningServer, ServerLimits, serve
from shared.observability.health import Health
from tests.unit.http.sample_service import INFO, FakeAuthenticator, Seen, sample_routes


@pytest.fixture
def seen() -> Seen:
    return Seen([], asyncio.Event())


@pytest.fixture
async def app(seen: Seen) -> web.Application:
    async def database() -> Health:
        return Health(ok=True)

    return build_app(
        sample_routes(seen),
        authenticator=FakeAuthenticator(),
        info=INFO,
        checks={"database": database},
    )


@pytest.fixture
async def server(app: web.Application) -> AsyncIterator[RunningServer]:
    limits = ServerLimits(header_deadline_s=0.3, lingering_s=0.2, max_connections=20)
    async with serve(app, "127.0.0.1", 0, limits=limits) as running:
        yield running


@pytest.fixture
async def caller(server: RunningServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(server.url) as session:
        yield session
