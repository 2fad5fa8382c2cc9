# SPDX-License-Identifier: Apache-2.0
"""OpenIPMI's `ipmi_sim`: an IPMI BMC that shares no line of code with pyghmi."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.contract.bmc import USER, free_udp_port

PROGRAM = shutil.which("ipmi_sim")
PASSWORD = "correct-horse"  # it takes 16 bytes without blanks

LAN = """\
name "vmha"
startlan 1
  addr 127.0.0.1 {port}
  priv_limit admin
  allowed_auths_user md5
  allowed_auths_operator md5
  allowed_auths_admin md5
  guid a123456789abcdefa123456789abcdef
endlan
chassis_control "{folder}/chassis 0x20"
user 2 true "{user}" "{password}" admin 10 md5
"""
CONTROLLER = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
mc_enable 0x20
"""
#: Called with `0x20 get power` and `0x20 set power 0|1`; the chassis is a file.
CHASSIS = """\
#!/bin/sh
if [ "$2" = get ]; then echo "power:$(cat {folder}/power)"; exit 0; fi
while [ $# -gt 0 ]; do [ "$1" = power ] && echo "$2" > {folder}/power; shift; done
"""


@dataclass
class Simulator:
    """A running ipmi_sim with one chassis."""

    port: int
    folder: Path

    def power(self) -> str:
        """Return the chassis' true state."""
        return "on" if (self.folder / "power").read_text().strip() == "1" else "off"

    def switch_on(self) -> None:
        (self.folder / "power").write_text("1")


@contextmanager
def ipmi_sim(folder: Path, answers: Callable[[int], bool]) -> Iterator[Simulator]:
    """Run ipmi_sim until the block ends; `answers` tells whether a port does by now."""
    assert PROGRAM is not None
    port = free_udp_port()
    words = {"port": port, "folder": folder, "user": USER, "password": PASSWORD}
    (folder / "lan.conf").write_text(LAN.format(**words))
    (folder / "bmc.emu").write_text(CONTROLLER)
    (folder / "chassis").write_text(CHASSIS.format(folder=folder))
    (folder / "chassis").chmod(0o755)
    (folder / "power").write_text("1")
    (folder / "state").mkdir()
    process = subprocess.Popen(
        [PROGRAM, "-n", "-c", "lan.conf", "-f", "bmc.emu", "-s", "state"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 30
        while not answers(port):
            if time.monotonic() > end:
                raise RuntimeError("ipmi_sim does not answer")
        yield Simulator(port, folder)
    finally:
        process.kill()
        process.wait(timeout=10)
