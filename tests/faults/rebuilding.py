"""Owns a rebuild as a process that can be told to die: `python -m tests.faults.rebuilding`.

Must do what `estate rebuild` does and nothing else.
"""

import asyncio
import sys
from pathlib import Path

import orjson

from cli.replaying import rebuild_model
from shared.failpoints import arm
from shared.messaging.kafka import KafkaSettings


def main(state: str, model: str, failpoints: str) -> int:
    """Rebuild a read model of the estate in a state folder, with points armed."""
    addresses = orjson.loads((Path(state) / "addresses.json").read_bytes())
    arm(failpoints)
    kafka = KafkaSettings(**addresses["kafka"])
    asyncio.run(rebuild_model(model, addresses["databases"], kafka, lambda *_: None))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
