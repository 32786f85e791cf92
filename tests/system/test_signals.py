"""A signal that asks to stop is an exception inside the block, and what it was before outside of it."""

import ctypes
import signal
import sys

import pytest

from streamgmm.errors import Interrupted
from streamgmm.system.signals import STOP, check_signals, stopping


@pytest.fixture(autouse=True)
def as_before():
    """Begin with no signal ignored, as under nohup, and give the tests' own process its signals back."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in STOP}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def raise_signals_in_block(*numbers):
    with stopping():
        for number in numbers:
            signal.raise_signal(number)


@pytest.mark.parametrize("number", STOP)
def test_a_signal_that_asks_to_stop_interrupts(number):
    with pytest.raises(Interrupted) as interrupted:
        raise_signals_in_block(number)
    assert interrupted.value.exit_code == 128 + number


def test_an_interrupt_is_no_error_that_a_job_would_catch():
    assert not issubclass(Interrupted, Exception)


@pytest.mark.parametrize("number", STOP)
def test_a_signal_that_is_ignored_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    raise_signals_in_block(number)
    assert signal.getsignal(number) is signal.SIG_IGN


def test_one_that_is_ignored_does_not_keep_others_from_asking():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with pytest.raises(Interrupted):
        raise_signals_in_block(signal.SIGHUP, signal.SIGTERM)


@pytest.mark.parametrize("asked", [True, False])
def test_handlers_are_what_they_were_when_the_block_ends(asked):
    def handler(number, frame):
        raise AssertionError

    signal.signal(signal.SIGTERM, handler)
    before = [signal.getsignal(number) for number in STOP]
    try:
        raise_signals_in_block(*[signal.SIGTERM] * asked)
    except Interrupted:
        assert asked
    assert [signal.getsignal(number) for number in STOP] == before


def test_a_block_in_a_block_gives_its_signals_back_to_the_outer():
    with stopping():
        outer = signal.getsignal(signal.SIGTERM)
        raise_signals_in_block()
        assert signal.getsignal(signal.SIGTERM) is outer
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)


@ctypes.CFUNCTYPE(None)
def interrupted_callback():
    """A function that C calls, as the compiler does, which no exception leaves."""
    signal.raise_signal(signal.SIGTERM)


@ctypes.CFUNCTYPE(None)
def wrong_callback():
    raise ValueError("told by Python")


def call_and_check(*callbacks):
    with stopping():
        for callback in callbacks:
            callback()
        check_signals()


def test_a_signal_that_a_callback_swallows_is_raised_later_and_python_does_not_tell_of_it(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: seen.append(str(unraisable.exc_value)))
    with pytest.raises(Interrupted) as interrupted:
        call_and_check(interrupted_callback, wrong_callback)
    assert interrupted.value.exit_code == 143
    assert seen == ["told by Python"]
    wrong_callback()
    assert seen == ["told by Python"] * 2
