"""The configuration: defaults, merging, and clear words for mistakes."""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from typing import Any

import pytest
from bedrock_batch_simulator import Config, ConfigError, SpeedClock

from .world import CLAUDE, NOVA


def test_defaults_are_the_quotas_of_the_service() -> None:
    model = Config().model(CLAUDE)
    assert (model.max_active_jobs, model.min_records, model.max_records_per_job) == (10, 100, 50_000)
    assert (model.max_file_bytes, model.max_job_bytes) == (1024**3, 5 * 1024**3)


def test_a_model_s_own_settings_stand_above_those_for_all() -> None:
    config = Config.from_dict({"models": {"*": {"min_records": 5}, f"us.{CLAUDE}": {"max_active_jobs": 2}}})
    assert (config.model(CLAUDE).min_records, config.model(CLAUDE).max_active_jobs) == (5, 2)
    assert (config.model(NOVA).min_records, config.model(NOVA).max_active_jobs) == (5, 10)


def test_updates_merge_and_lists_are_replaced() -> None:
    first = Config.from_dict({"models": {"*": {"min_records": 5}}, "job_faults": [{"outcome": "Failed"}]})
    second = first.updated(
        {"models": {"*": {"queue_seconds": 9}}, "events": {"loss_rate": 0.5}, "job_faults": []}
    )
    assert (second.model(CLAUDE).min_records, second.model(CLAUDE).queue_seconds) == (5, 9)
    assert second.events.loss_rate == 0.5
    assert second.job_faults == ()


def test_a_configuration_survives_json() -> None:
    config = Config.from_dict({"models": {"*": {"min_records": 5}}, "job_faults": [{"names": ["a"]}]})
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"modles": {}}, "unknown key 'modles'; known: "),
        ({"models": {"*": {"min": 1}}}, r"models\.\*: unknown key 'min'"),
        ({"models": {"*": {"min_records": "1"}}}, "min_records: must be a number"),
        ({"models": {"*": {"min_records": 1.5}}}, "must be an integer"),
        ({"models": {"*": {"queue_seconds": -1}}}, "must not be negative"),
        ({"models": {"*": {"records_per_second": 0}}}, "must be above 0"),
        ({"models": {"*": 1}}, "object of objects"),
        ({"events": {"loss_rate": 2}}, "between 0 and 1"),
        ({"events": 1}, "events: must be an object"),
        ({"quota_error": "Error"}, "must be one of ServiceQuotaExceededException"),
        ({"job_faults": {}}, "job_faults: must be a list"),
        ({"job_faults": [{"outcome": "Lost"}]}, r"job_faults\[0\]\.outcome: must be one of"),
        ({"check_role": "no"}, "check_role: must be a boolean"),
        ({"models": {"*": {"min_records": math.nan}}}, "min_records: must be a number up to"),
        ({"models": {"*": {"max_in_progress": math.inf}}}, "max_in_progress: must be a number up to"),
        ({"models": {"*": {"records_per_second": math.inf}}}, "records_per_second: must be a number up to"),
        ({"default_timeout_hours": 10**400}, "default_timeout_hours: must be a number up to"),
        ({"default_timeout_hours": 0}, "default_timeout_hours: must be between 1 and"),
        ({"default_max_results": 0}, "default_max_results: must be at least 1"),
        ({"record_faults": {"passing_codes": []}}, "passing_codes: must have at least one code"),
        ({"record_faults": {"permanent_code": 200}}, "400 to 599, not 200"),
        ({"inference_profiles": {"abc": 1}}, "inference_profiles.abc: must be a string"),
        ({"bucket_owners": {"data": 123456789012}}, "bucket_owners.data: must be a string"),
    ],
)
def test_a_mistake_is_named_with_its_place(data: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Config.from_dict(data)


def test_the_clock_runs_at_its_speed_and_never_back() -> None:
    # given real time under control, and a clock of ten times its speed
    real = [1000.0]
    clock = SpeedClock(10, source=lambda: real[0])
    start = clock()

    def passed() -> float:
        return round(clock() - start, 3)

    # when real time passes, and the clock is moved, halted and slowed, then it goes on from where it was
    real[0] += 1
    assert passed() == 10
    clock.advance(90)
    assert passed() == 100
    clock.set(start)
    assert passed() == 100
    clock.set_mode("manual")
    real[0] += 50
    assert passed() == 100
    clock.set_mode("wall")
    clock.set_speed(1)
    real[0] += 2
    assert passed() == 102


@pytest.mark.parametrize("speed", [-1, math.nan, math.inf])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(ConfigError, match="speed: must be between"):
        SpeedClock(speed)
    clock = SpeedClock()
    with pytest.raises(ConfigError, match="speed: must be between"):
        clock.set_speed(speed)
    assert clock.speed == 1


def test_the_clock_goes_not_back_for_who_reads_it_while_it_is_set() -> None:
    # given a clock whose speed is set over and over by another thread
    clock, end = SpeedClock(1000), time.monotonic() + 0.3
    interval = sys.getswitchinterval()

    def set_it() -> None:
        while time.monotonic() < end:
            clock.set_speed(1000)

    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=set_it)
    thread.start()
    # when it is read meanwhile
    last, back = clock(), 0.0
    while time.monotonic() < end:
        last, before = clock(), last
        back = max(back, before - last)
    thread.join()
    sys.setswitchinterval(interval)
    # then it never went back, but for the rounding of its numbers
    assert back < 1e-3
