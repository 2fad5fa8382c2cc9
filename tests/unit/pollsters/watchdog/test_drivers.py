# SPDX-License-Identifier: Apache-2.0
"""The drivers: what goes to the device, and what comes of answers that make no sense.

No real watchdog was used: the kernel's side of the ioctls is played by a function.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vmha_pollsters.agent.watchdog import linux
from vmha_pollsters.agent.watchdog.linux import LinuxWatchdog
from vmha_pollsters.agent.watchdog.socket import SocketWatchdog
from vmha_remediator.errors import WatchdogError


@pytest.mark.parametrize(
    ("machine", "numbers"),
    [
        ("x86_64", [0x80285700, 0x80045705, 0xC0045706, 0x80045707]),
        ("aarch64", [0x80285700, 0x80045705, 0xC0045706, 0x80045707]),
        ("ppc64le", [0x40285700, 0x40045705, 0xC0045706, 0x40045707]),
    ],
)
def test_requests_are_numbered_as_in_the_kernels_headers(machine: str, numbers: list[int]) -> None:
    assert [
        linux.ioctl_number(direction, number, size, machine)
        for direction, number, size in ((2, 0, 40), (2, 5, 4), (3, 6, 4), (2, 7, 4))
    ] == numbers


class Kernel:
    """Answers ioctls on one file as a watchdog's driver would."""

    def __init__(self) -> None:
        self.timeout = 60
        self.step = 1  # it rounds time-outs up to a multiple of this
        self.refuses: dict[int, int] = {}
        self.asked: list[int] = []

    def ioctl(self, fd: int, request: int, argument: bytes) -> bytes:
        os.fstat(fd)
        self.asked.append(request)
        if request in self.refuses:
            raise OSError(self.refuses[request], os.strerror(self.refuses[request]))
        if request == linux.SET_TIMEOUT:
            wanted = struct.unpack("i", argument)[0]
            self.timeout = -(-wanted // self.step) * self.step
        if request == linux.GET_SUPPORT:
            return struct.pack("II32s", linux.MAGIC_CLOSE | 0x8080, 1, b"a watchdog")
        return struct.pack("i", self.timeout)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr("fcntl.ioctl", made.ioctl)
    return made


@pytest.fixture
def device(tmp_path: Path) -> Path:
    (tmp_path / "watchdog").write_bytes(b"")
    return tmp_path / "watchdog"


def linux_driver(path: Path, timeout: float = 10.0) -> LinuxWatchdog:
    settings = SimpleNamespace(watchdog_device=str(path), watchdog_timeout=timeout)
    return LinuxWatchdog(settings)


def test_nothing_is_opened_before_it_is_armed(kernel: Kernel, tmp_path: Path) -> None:
    driver = linux_driver(tmp_path / "missing")
    driver.disarm()
    with pytest.raises(WatchdogError, match="missing cannot be opened: No such file"):
        driver.arm()


def test_the_devices_own_word_about_its_time_out_counts(kernel: Kernel, device: Path) -> None:
    kernel.step = 16
    assert linux_driver(device).arm() == 16.0


def test_a_device_that_cannot_be_set_keeps_its_own(kernel: Kernel, device: Path) -> None:
    kernel.refuses[linux.SET_TIMEOUT] = errno.EOPNOTSUPP
    assert linux_driver(device).arm() == 60.0


def test_one_that_does_not_tell_is_stopped_at_once(kernel: Kernel, device: Path) -> None:
    kernel.refuses[linux.GET_TIMEOUT] = errno.EOPNOTSUPP
    with pytest.raises(WatchdogError, match="does not tell its time-out"):
        linux_driver(device).arm()
    assert device.read_bytes() == b"V"


def test_feeding_keeps_it_alive_and_writes_nothing(kernel: Kernel, device: Path) -> None:
    driver = linux_driver(device)
    driver.arm()
    driver.feed()
    assert kernel.asked[-1] == linux.KEEP_ALIVE
    assert device.read_bytes() == b""
    assert driver.stoppable()


def test_a_feed_that_fails_is_an_error(kernel: Kernel, device: Path) -> None:
    driver = linux_driver(device)
    driver.arm()
    kernel.refuses[linux.KEEP_ALIVE] = errno.ENODEV
    with pytest.raises(WatchdogError, match="cannot be fed: No such device"):
        driver.feed()


def test_only_a_stop_on_purpose_writes_the_magic_character(kernel: Kernel, device: Path) -> None:
    driver = linux_driver(device)
    driver.arm()
    driver.disarm()
    assert device.read_bytes() == b"V"
    driver.disarm()
    assert device.read_bytes() == b"V"


class Daemon:
    """The other side of a socket watchdog, with answers as told."""

    def __init__(self, path: Path) -> None:
        self.answers = {"arm": "armed 12", "feed": "fed", "disarm": "disarmed"}
        self.asked: list[str] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._server.accept()
            except OSError:
                return
            with link, link.makefile("rwb", buffering=0) as lines:
                for line in lines:
                    self.asked.append(line.decode().strip())
                    lines.write(self.answers[line.decode().split()[0]].encode() + b"\n")

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "dog.sock")
    yield made
    made.close()


def socket_driver(path: Path) -> Any:
    settings = SimpleNamespace(watchdog_device=str(path / "dog.sock"), watchdog_timeout=10.0)
    return SocketWatchdog(settings)


def test_a_socket_watchdog_is_armed_fed_and_stopped(daemon: Daemon, tmp_path: Path) -> None:
    driver = socket_driver(tmp_path)
    assert driver.arm() == 12.0
    driver.feed()
    driver.disarm()
    assert daemon.asked == ["arm 10", "feed", "disarm"]


def test_an_answer_that_makes_no_sense_is_an_error(daemon: Daemon, tmp_path: Path) -> None:
    daemon.answers["feed"] = "what?"
    with pytest.raises(WatchdogError, match=r"answers 'what\?' to feed"):
        socket_driver(tmp_path).feed()


def test_a_daemon_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WatchdogError, match="does not answer"):
        socket_driver(tmp_path).arm()
