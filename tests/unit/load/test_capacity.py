"""The capacity model: its arithmetic, and that it says what was measured."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from load.autoencoder import flops_of
from load.capacity import Limits, Workload, need, one_machine_per_s, strains
from load.costs import Costs, Line, fit, line, points
from load.planning import COSTS, capacity_command, together, told
from load.report import read

EVEN = Costs(
    stages_us=Line(1.0, 0.01),
    model_us=Line(0.1, 1e-5),
    paced_us_per_s=Line(100_000.0, 5.0),
    restore_s=Line(0.5, 1e-5),
    entity_bytes=1_600.0,
    broker_us=0.5,
)
LOAD = Workload(1e6, features=40, flops=1e5, entities=10_000_000)


def test_a_line_goes_through_the_ends():
    found = line([(5.0, 99.0), (1.0, 3.0), (9.0, 19.0)])

    assert (found(1.0), found(9.0), found(5.0)) == (3.0, 19.0, 11.0)
    with pytest.raises(ValueError, match="costs"):
        line([(1.0, 1.0)])


def test_workers_are_what_the_cpu_of_an_event_asks_for():
    found = need(LOAD, EVEN, Limits(busy=0.5))

    assert found.event_us == pytest.approx(1.0 + 0.4 + 0.1 + 1.0)
    assert found.workers == 5
    assert found.partitions >= 2 * found.workers
    assert found.events_per_worker == 200_000


def test_small_transactions_cost_a_worker_more_than_its_events():
    assert need(Workload(1_000), EVEN).core_share == pytest.approx((100_000 + 5.0 * 1_000) / 1e6)
    busy = need(Workload(200_000), EVEN)
    assert busy.core_share == pytest.approx(busy.events_per_worker * busy.event_us / 1e6)


def test_a_gpu_takes_the_model_off_the_workers():
    found = need(replace(LOAD, gpu_events_per_s=300_000), EVEN)

    assert found.gpus == 4
    assert found.event_us == pytest.approx(1.4)
    assert need(LOAD, EVEN).gpus is None


def test_brokers_take_replicas_and_give_readers_their_bytes():
    load = Workload(100_000, event_bytes=310, entities=1)
    found = need(load, EVEN, Limits(replication=3))
    written = 100_000 * (310 + 190)

    assert found.in_bytes_per_s == pytest.approx(3 * written, rel=0.01)
    assert found.out_bytes_per_s == pytest.approx(2 * written + written, rel=0.01)


def test_state_is_written_once_per_entity_and_interval_at_most():
    rare = need(Workload(1_000, entities=1_000_000), EVEN)
    often = need(Workload(1_000_000, entities=1_000_000), EVEN)
    record = Workload(0).state_record_bytes

    assert rare.state_bytes_per_s == 1_000 * record
    assert often.state_bytes_per_s == 100_000 * record


def test_everything_grows_with_the_rate_and_nothing_is_a_part_of_a_worker():
    rates = np.geomspace(1, 1e9, 30)
    found = [need(Workload(rate), EVEN) for rate in rates]

    for name in ("workers", "partitions", "brokers", "in_bytes_per_s", "transactions_per_s"):
        values = [getattr(one, name) for one in found]
        assert values == sorted(values), name
    assert all(isinstance(one.workers, int) and one.workers >= 1 for one in found)


def test_the_nearest_limit_stands_first():
    found = need(Workload(1e9), EVEN)
    listed = strains(found, Limits(group_members=10))

    assert listed[0].what == "members of one consumer group"
    assert listed[0].share == found.workers / 10
    assert [one.share for one in listed] == sorted((one.share for one in listed), reverse=True)


@pytest.mark.parametrize(("worker_us", "broker_us"), [(2.3, 1.0), (2.3, 1.3), (4.0, 1.0)])
def test_workers_and_broker_on_two_cores_share_them(worker_us, broker_us):
    one, two, three = (one_machine_per_s(count, 2, worker_us, broker_us) for count in (1, 2, 3))

    assert one == pytest.approx(1e6 / worker_us)  # the broker has the other core, which is enough for it
    assert two / one == pytest.approx(2 * worker_us / (worker_us + broker_us))
    assert three == two


def test_a_broker_that_costs_more_than_its_worker_bounds_one_worker_too():
    assert one_machine_per_s(1, 2, 1.0, 3.0) == pytest.approx(2e6 / 4)


def test_a_core_for_the_broker_lets_a_second_worker_do_as_much_as_the_first():
    assert one_machine_per_s(2, 3, 2.0, 1.0) == pytest.approx(2 * one_machine_per_s(1, 3, 2.0, 1.0))


def test_it_is_told_in_words():
    text = "\n".join(told(LOAD, need(LOAD, EVEN)))

    assert "10,000,000 entities" in text
    assert "on CPUs" in text


def test_the_command_says_what_breaks():
    said = CliRunner().invoke(capacity_command, ["--events-per-s", "1e9", "--entities", "1000000000"])

    assert said.exit_code == 0, said.output
    assert re.search(r"BREAKS: several clusters", said.output)
    calm = CliRunner().invoke(capacity_command, ["--events-per-s", "1e5", "--gpu-events-per-s", "1e6"])
    assert "on 1 GPU" in calm.output
    assert "BREAKS" not in calm.output


# --- against measured runs (load/costs.json, from `python -m load costs`)

MEASURED = read(COSTS)
FITTED = fit(MEASURED)
CLOSE = 0.2


def test_it_says_what_an_event_of_a_width_that_it_was_not_fitted_to_took():
    measured = dict(points(MEASURED, "width", lambda one: one.figures["cpu_us_per_event"]))

    assert set(measured) == {8, 38, 380}
    assert FITTED.event_us(38, flops_of(38)) == pytest.approx(measured[38], rel=CLOSE)


def test_it_says_what_a_rate_that_it_was_not_fitted_to_took():
    measured = dict(points(MEASURED, "paced", lambda one: one.figures["cpu_us_per_event"]))

    assert set(measured) == {2_000, 10_000, 30_000}
    assert FITTED.paced_us_per_s(10_000) / 10_000 == pytest.approx(measured[10_000], rel=CLOSE)


def test_it_says_how_long_a_restore_that_it_was_not_fitted_to_took():
    measured = dict(points(MEASURED, "restore", lambda one: one.figures["cpu_s"]))

    assert set(measured) == {10_000, 100_000, 1_000_000}
    assert FITTED.restore_s(100_000) == pytest.approx(measured[100_000], rel=CLOSE)


def test_it_says_what_an_event_takes_on_workers_that_are_bound_to_cores():
    measured = dict(points(MEASURED, "workers", lambda one: one.figures["cpu_us_per_event"]))

    assert set(measured) >= {1, 2}
    for taken in measured.values():
        assert FITTED.event_us(38, flops_of(38)) == pytest.approx(taken, rel=CLOSE)


def test_it_says_how_much_more_two_workers_did_than_one_on_two_cores():
    drained = dict(points(MEASURED, "workers", lambda one: one.figures["events_per_s"]))
    event_us = FITTED.event_us(38, flops_of(38))
    one, two = (one_machine_per_s(count, 2, event_us, FITTED.broker_us) for count in (1, 2))

    assert two / one == pytest.approx(drained[2] / drained[1], rel=CLOSE)


def test_the_page_says_of_two_workers_what_the_program_says():
    page = (Path(__file__).parents[3] / "docs/scaling.md").read_text("utf-8")

    for cores in (2, 3):
        for said in together(FITTED.event_us(38, flops_of(38)), FITTED.broker_us, cores)[:2]:
            rate, times = re.search(r"([\d,]+) events/s at most, (.+)", said).groups()
            assert rate in page
            assert times in page or times.startswith("1.00")


def test_memory_of_an_entity_is_its_row_and_a_little():
    row_bytes = 4 * Workload(0).entity_floats

    assert row_bytes < FITTED.entity_bytes < 1.3 * row_bytes
    assert math.isfinite(FITTED.broker_us)
