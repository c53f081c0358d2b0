"""Owns picking days out of the time that the sources of the demo cover."""

from datetime import date, timedelta
from random import Random

from tests.support.source_reading import Reading


def days(first: date, last: date, count: int, chance: Random) -> list[date]:
    return [first + timedelta(chance.randint(0, (last - first).days)) for _ in range(count)]


def first_day(reading: Reading) -> date:
    first: date = reading.repos.rows[0]["date"].date()
    return first


def last_day(reading: Reading) -> date:
    last: date = max(reading.repos.rows[-1]["date"], reading.docker.rows[-1]["date"]).date()
    return last
