# SPDX-License-Identifier: Apache-2.0
"""A virtual clock and the processes on it.

Every thread of the product is a greenlet here: its loops run unchanged, and whenever they wait
(for time, an event, a packet or the storage) the next one is let go on. Only one runs at a time
and the order is a function of the scenario, so every run of it is the same.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")

EPOCH = 1_800_000_000.0  # wall clock at virtual second 0
#: Steps in one virtual instant; more means that something spins without waiting.
MOST_AT_ONCE = 20_000
#: The shortest wait: a remainder too small to move the clock must not be waited for for ever.
LEAST = 1e-6
ANY = 0  # the ticket of what is no task


class Machine(Protocol):
    """Where a process runs: what can stop it, and what its clocks show."""

    name: str
    hung: bool
    booted: float
    skew: float

    def lag(self) -> float:
        """Return how much later than asked a process gets the CPU now, in seconds."""


class Killed(BaseException):
    """The process ends itself; stands for os._exit."""


@dataclass(eq=False)
class Process:
    """A process of the product: killed, stopped and continued as a whole."""

    name: str
    machine: Machine
    alive: bool = True
    stopped: bool = False
    on_exit: list[Callable[[], None]] = field(default_factory=list)
    _kept: list[tuple[Task, int]] = field(default_factory=list)

    @property
    def held(self) -> bool:
        return self.stopped or self.machine.hung

    def kill(self) -> None:
        """End it at once, as SIGKILL does."""
        self.alive = False
        for call in self.on_exit:
            call()


@dataclass(eq=False)
class Task:
    """One thread of a process."""

    process: Process
    name: str
    greenlet: Any = None
    ticket: int = 0
    done: bool = False
    waiters: list[Callable[[], None]] = field(default_factory=list)


class Clockwork:
    """Lets virtual time pass and everybody work when their time has come."""

    def __init__(self) -> None:
        self.now = 0.0
        self._hub = getcurrent()
        self.task: Task | None = None
        self.after_step: Callable[[], None] = lambda: None
        self._numbers = itertools.count()
        #: What happens when: a call, or a task that goes on unless its ticket is an old one.
        self._events: list[tuple[float, int, Callable[[], None] | Task, int]] = []
        self._tasks: list[Task] = []

    # -- from outside -------------------------------------------------------------------

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call at that virtual second."""
        heapq.heappush(self._events, (when, next(self._numbers), call, ANY))

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        self.at(self.now + seconds, call)

    def run_until(self, end: float) -> None:
        """Let time pass until `end`; whatever is raised in a task comes out here."""
        at_once, events = 0, self._events
        while events and events[0][0] <= end:
            when, _, what, ticket = heapq.heappop(events)
            if when > self.now:
                at_once, self.now = 0, when
            else:
                at_once += 1
                if at_once > MOST_AT_ONCE:
                    raise RuntimeError(f"at {self.now:.3f} s somebody works without waiting")
            if isinstance(what, Task):
                self._resume(what, ticket)
            else:
                what()
            self.after_step()
        self.now = max(self.now, end)

    def spawn(self, process: Process, work: Callable[[], object], name: str = "") -> Task:
        """Start a thread of `process`."""
        task = Task(process, name)

        def body() -> None:
            with suppress(Killed):
                work()

        task.greenlet = greenlet(body, self._hub)
        self._tasks = [t for t in self._tasks if not t.done]
        self._tasks.append(task)
        self.wake(task, task.ticket)
        return task

    def release(self, process: Process) -> None:
        """Let a process go on that was stopped, or whose machine hung."""
        kept, process._kept = process._kept, []
        for task, ticket in kept:
            self.wake(task, ticket)

    def close(self) -> None:
        """End every thread, so that none wakes up after the clock is gone."""
        for task in self._tasks:
            for _ in range(3):
                if task.greenlet.dead or not task.greenlet:
                    break
                with suppress(BaseException):
                    task.greenlet.throw(Killed())
        self._tasks = []

    # -- from within a task -------------------------------------------------------------

    def park(self, seconds: float | None = None) -> None:
        """Wait for that long, or until somebody wakes this task."""
        task = self.running()
        task.ticket += 1
        if seconds is not None:
            self.wake(task, task.ticket, max(LEAST, seconds))
        self._hub.switch()

    def running(self) -> Task:
        """Return the task that runs now."""
        assert self.task is not None, "only a process of the simulation can wait"
        return self.task

    def waker(self) -> Callable[[], None]:
        """Return what wakes the running task from its next wait."""
        task = self.running()
        ticket = task.ticket + 1
        return lambda: self.wake(task, ticket)

    # -- inside -------------------------------------------------------------------------

    def wake(self, task: Task, ticket: int, seconds: float = 0.0) -> None:
        """Let a task go on then, unless it has been woken from that wait before."""
        event = (self.now + seconds, next(self._numbers), task, ticket)
        heapq.heappush(self._events, event)

    def _resume(self, task: Task, ticket: int, late: bool = False) -> None:
        process = task.process
        if task.done or task.ticket != ticket or not process.alive:
            return
        if process.stopped or process.machine.hung:
            process._kept.append((task, ticket))
            return
        lag = 0.0 if late else process.machine.lag()
        if lag:
            self.after(lag, partial(self._resume, task, ticket, late=True))
            return
        self.task = task
        try:
            task.greenlet.switch()
        finally:
            self.task = None
        if task.greenlet.dead:
            task.done = True
            for wake in task.waiters:
                wake()


# -- what the product believes to be the standard library ---------------------------------


class Event:
    """Stands for threading.Event."""

    def __init__(self, clockwork: Clockwork) -> None:
        self._clockwork = clockwork
        self._set = False
        self._waiters: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        waiters, self._waiters = self._waiters, []
        for wake in waiters:
            wake()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            wake = self._clockwork.waker()
            self._waiters.append(wake)
            self._clockwork.park(timeout)
            if wake in self._waiters:
                self._waiters.remove(wake)
        return self._set


class Lock:
    """Stands for threading.Lock where a holder may wait while it holds it."""

    def __init__(self, clockwork: Clockwork) -> None:
        self._clockwork = clockwork
        self._held: Task | None = None
        self._waiters: list[Callable[[], None]] = []

    def __enter__(self) -> bool:
        while self._held is not None and self._held.process.alive:
            self._waiters.append(self._clockwork.waker())
            self._clockwork.park()
        self._held = self._clockwork.task
        return True

    def __exit__(self, *exc: object) -> None:
        self._held = None
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for wake in waiters:
                wake()


class Thread:
    """Stands for threading.Thread."""

    def __init__(
        self,
        clockwork: Clockwork,
        target: Callable[..., object],
        args: tuple[object, ...] = (),
        name: str = "",
        daemon: bool = False,
    ) -> None:
        self._clockwork, self._target, self._args = clockwork, target, args
        self.name, self.daemon = name, daemon
        self._task: Task | None = None

    def start(self) -> None:
        process = self._clockwork.running().process
        self._task = self._clockwork.spawn(process, lambda: self._target(*self._args), self.name)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.done

    def join(self, timeout: float | None = None) -> None:
        if self._task is not None and not self._task.done:
            self._task.waiters.append(self._clockwork.waker())
            self._clockwork.park(timeout)


class Pool(Executor):
    """Stands for a ThreadPoolExecutor that always has a free worker."""

    def __init__(self, clockwork: Clockwork) -> None:
        self._clockwork = clockwork

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as exc:  # noqa: BLE001 (as a pool does)
                future.set_exception(exc)

        self._clockwork.spawn(self._clockwork.running().process, work, "pool")
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing is kept."""


class InlinePool(Executor):
    """Does work at once in the caller's task, which may wait in it."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as exc:  # noqa: BLE001 (as a pool does)
            future.set_exception(exc)
        return future

    def map(self, fn: Callable[..., T], *iterables: Any, **_: Any) -> Iterator[T]:
        return iter([fn(*args) for args in zip(*iterables, strict=True)])


class Time:
    """Stands for the module time: the clocks of the machine that the caller runs on."""

    def __init__(self, clockwork: Clockwork) -> None:
        self._clockwork = clockwork

    def monotonic(self) -> float:
        task = self._clockwork.task
        assert task is not None
        return self._clockwork.now - task.process.machine.booted

    def time(self) -> float:
        machine = self._clockwork.running().process.machine
        return EPOCH + self._clockwork.now + machine.skew

    def sleep(self, seconds: float) -> None:
        self._clockwork.park(seconds)
