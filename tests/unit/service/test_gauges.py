from prometheus_client import generate_latest

from shared.eventstore.writer import BatchDone
from shared.observability import metrics as names
from shared.observability.metrics import Metrics
from shared.service.gauges import LogMeters


def test_every_commit_shows_in_the_metrics_of_the_log() -> None:
    meters = LogMeters(Metrics("registry", "0.1.0"))
    meters.count(BatchDone(position=7, events=3, commands=2, duration_s=0.01))
    shown = generate_latest(meters.metrics.registry).decode()
    assert f"{names.LOG_POSITION} 7.0" in shown
    assert f"{names.LOG_APPENDS} 3.0" in shown
    assert f"{names.LOG_BATCH_COMMANDS}_sum 2.0" in shown
    assert f"{names.LOG_APPEND_DURATION}_count 1.0" in shown
