"""The demo's answers against a second reading of its sources: any day, any cut, any order."""

import random
from datetime import date, timedelta
from typing import Any

import pytest

from tests.e2e.conftest import Demonstrated, asking_run
from tests.support.asking import Asker, every_item
from tests.support.demo_runs import demo, finished_demo, running_demo, state_folder
from tests.support.e2e_config import E2eConfig
from tests.support.held_against import assert_day, assert_figures, events_expected
from tests.support.source_reading import Reading, read_sources

pytestmark = pytest.mark.timeout(400)
