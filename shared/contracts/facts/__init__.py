"""What each event states, attribute by attribute: the meaning of the published contract.

Deciders and every service's read models take it from here, so that one event means one thing.
"""

from collections.abc import Iterable
from typing import Any

Facts = Iterable[tuple[str, Any]]
"""Attribute and value, each attribute once; None takes a value away."""
