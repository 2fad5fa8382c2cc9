# SPDX-License-Identifier: Apache-2.0
"""Signals: they arrive at any moment, also at a bad one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from vmha_remediator.signals import on_signals

#: The main thread holds an event's lock for a moment whenever it begins to wait for it.
AT_A_BAD_MOMENT = """
import os, signal, threading
from vmha_remediator.signals import on_signals

stop = threading.Event()
on_signals({signal.SIGTERM: stop.set})
with stop._cond:
    os.kill(os.getpid(), signal.SIGTERM)
print("stopped" if stop.wait(20) else "lost")
"""

PATIENT = """
import signal, threading
from vmha_remediator.signals import on_signals

on_signals({signal.SIGTERM: lambda: print("asked to stop", flush=True)}, once=True)
print("ready", flush=True)
threading.Event().wait(60)
"""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGUSR2)
    yield
    signal.signal(signal.SIGUSR1, before[0])
    signal.signal(signal.SIGUSR2, before[1])


def test_each_signal_has_its_deed_done_as_often_as_it_comes() -> None:
    done: list[str] = []
    on_signals(
        {signal.SIGUSR1: lambda: done.append("one"), signal.SIGUSR2: lambda: done.append("two")}
    )
    for number, expected in ((signal.SIGUSR1, 1), (signal.SIGUSR2, 2), (signal.SIGUSR1, 3)):
        os.kill(os.getpid(), number)
        deadline = time.monotonic() + 20
        while len(done) < expected and time.monotonic() < deadline:
            time.sleep(0.001)
    assert done == ["one", "two", "one"]


def test_another_thread_does_it() -> None:
    who: list[threading.Thread] = []
    seen = threading.Event()

    def deed() -> None:
        who.append(threading.current_thread())
        seen.set()

    on_signals({signal.SIGUSR1: deed})
    os.kill(os.getpid(), signal.SIGUSR1)
    assert seen.wait(20)
    assert who != [threading.main_thread()]


def test_a_signal_that_arrives_while_the_event_is_in_use_hangs_nothing() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", AT_A_BAD_MOMENT], capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "stopped\n", "")


def test_a_second_signal_ends_a_process_that_takes_its_time() -> None:
    process = subprocess.Popen([sys.executable, "-c", PATIENT], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.readline() == "asked to stop\n"
        process.terminate()
        assert process.wait(20) == -signal.SIGTERM
