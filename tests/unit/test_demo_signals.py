"""What Ctrl-C and its like do to the demo, by where it is."""

from __future__ import annotations

import signal

import pytest

from stream_infer.demo.signals import Signals


def test_ctrl_c_interrupts_and_the_old_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Signals(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_patient_program_hears_the_first_ctrl_c_as_a_wish() -> None:
    with Signals() as signals:
        with signals.patient():
            signal.raise_signal(signal.SIGINT)
            assert signals.asked
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_others_end_the_program_at_once(number: signal.Signals) -> None:
    with Signals() as signals, signals.patient(), pytest.raises(SystemExit) as ended:
        signal.raise_signal(number)
    assert ended.value.code == 128 + number


def test_nothing_cuts_the_putting_away_short() -> None:
    done = []

    def put_away() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
        done.append(True)

    with Signals() as signals:
        signals.deafly(put_away)
    assert done == [True]
