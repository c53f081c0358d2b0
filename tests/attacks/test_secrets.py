"""Secrets that callers put where they do not belong; the inquest looks for every other one."""

from urllib.parse import quote

from tests.attacks.attacked_estate import AttackedEstate, check_log_lines
from tests.attacks.wire import request, send

CANARY = f"estate_c0ffee00_{'Canary' * 7}X"


async def test_a_secret_in_the_wrong_place_is_told_to_nobody(estate: AttackedEstate) -> None:
    key = str(estate.keys["a"])
    port = estate.port("registry")
    for secret in (CANARY, key, "postgresql://user:canary-password@host/db"):
        quoted = quote(secret, safe="")
        for raw in (
            request("GET", f"/v1/services?key={quoted}", key=key),
            request("GET", f"/v1/services/{quoted}", key=key),
            request("GET", f"/{quoted}", key=None),
            request("GET", "/v1/log", key=secret + "x"),
            request("GET", "/v1/log", headers={"Authorization": f"Basic {secret}"}),
            request("GET", "/v1/log", key=key, headers={"Cookie": secret, "Referer": secret}),
            request("GET", "/v1/log", key=key, headers={"X-Correlation-Id": f"{secret}/"}),
            request("POST", "/v1/services", key=key, body=f'{{"kind": "{secret}"}}'.encode()),
            request("POST", "/v1/services", key=key, body=b'{"name": ' + secret.encode()),
            request("GET", "/v1/log", key=key, headers={"Idempotency-Key": secret}),
        ):
            answer = await send(port, raw)
            assert answer.status < 500
            assert secret.encode() not in answer.raw, answer
        # The pointer of a refusal holds the names of members; it is shown to their sender only.
        body = f'{{"{secret}": 1}}'.encode()
        assert (await send(port, request("POST", "/v1/services", key=key, body=body))).status < 500
    metrics = [(await estate.ask(one, "GET", "/metrics")).body for one in estate.local.services]
    logs = [one.log_path.read_bytes() for one in estate.local.services.values()]
    assert not [held for held in (*metrics, *logs) if b"Canary" in held or b"canary-" in held]
    for held in logs:
        check_log_lines(held, estate.canaries)


async def test_a_secret_is_never_taken_from_the_address(estate: AttackedEstate) -> None:
    """Keys in addresses would be kept by every proxy between."""
    key = estate.keys["admin"]
    for name in ("key", "access_token", "token", "authorization"):
        for service, path in (("registry", "/v1/log"), ("notifications", "/v1/changes/stream")):
            raw = request("GET", f"{path}?{name}={key}")
            assert (await send(estate.port(service), raw)).status == 401
