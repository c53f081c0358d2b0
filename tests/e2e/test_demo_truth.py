"""The demo's answers against a second reading of its sources, on any day."""

from datetime import date, timedelta

import pytest

from shared.http.client import ApiError
from tests.support.asking import Asker
from tests.support.demo_runs import Demonstrated
from tests.support.e2e_config import E2eConfig, seeded
from tests.support.held_against import assert_day, assert_figures
from tests.support.picked_days import days, first_day, last_day
from tests.support.source_reading import Reading

pytestmark = pytest.mark.timeout(400)


async def test_report_holds_every_figure_of_the_whole_history(
    demonstrated: Demonstrated, reading: Reading
) -> None:
    assert_figures(demonstrated.first.report, reading, None)


async def test_second_run_makes_no_event_and_has_little_to_do(demonstrated: Demonstrated) -> None:
    first, again = demonstrated.first, demonstrated.again

    assert again.report == first.report
    assert again.import_s < max(2, first.import_s / 2)


async def test_any_day_is_as_its_sources_say(
    asker: Asker, reading: Reading, chosen: E2eConfig
) -> None:
    chance = seeded(chosen.seed)
    for day in days(first_day(reading), last_day(reading), chosen.days, chance):
        await assert_day(asker, reading, day)


async def test_days_before_the_first_row_are_empty(asker: Asker, reading: Reading) -> None:
    day_before = first_day(reading) - timedelta(1)

    await assert_day(asker, reading, day_before)


async def test_yesterday_nothing_of_it_was_known(asker: Asker, reading: Reading) -> None:
    yesterday = (date.today() - timedelta(2)).isoformat()  # noqa: DTZ011 - two days are enough.
    for key in seeded(1).sample(sorted(reading.repos.listed()), 3):
        with pytest.raises(ApiError) as refused:
            await asker.registry.get(f"/v1/services/govuk-repos:{key}", {"known_at": yesterday})
        assert refused.value.slug == "not-known-then"
