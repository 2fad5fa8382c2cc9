# SPDX-License-Identifier: Apache-2.0
"""The compute hosts: power on, power loss, freeze, and what runs on one.

A host is a control group (kernel, services, guests), a network namespace and a mount of the
shared storage. It is on exactly as long as something lives in its control group.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.lab import (
    agent_config,
    cgroup,
    clocks,
    cloud,
    config,
    faults,
    layout,
    net,
    nova_api,
    power,
    process,
    redfish,
    starve,
    storage,
    watchdog,
)
from tests.lab.errors import LabError

Progress = Callable[[str], None]
_STOP_TIMEOUT = 10.0  # s for a service to end by itself
_REPORT_TIMEOUT = 120.0  # s; it takes about 12 with the machine idle

Argv = list[str | Path]


@dataclass(frozen=True)
class Service:
    """One process of a host: `needs` is the module that has to be there for it to start."""

    name: str
    argv: Callable[[str], Argv]
    needs: str
    wanted: Callable[[str], bool] = lambda host: True


def _agent(host: str) -> Argv:
    return [layout.VENV_BIN / "vmha-agent", *_config_files([agent_config.write(host)])]


def _feeder(host: str) -> Argv:
    return [*_agent(host), "watchdog"]


def _polling(host: str) -> Argv:
    namespace = ("--polling-namespaces", "vmha")
    files = _config_files(config.ceilometer_polling_config(host))
    return [layout.VENV_BIN / "ceilometer-polling", *namespace, *files]


def _power(host: str) -> Argv:
    namespace = ("--polling-namespaces", "compute")
    files = _config_files(config.ceilometer_compute_config(host))
    python: Argv = [layout.VENV_BIN / "python", "-m", "tests.lab.virt.polling"]
    return [*python, *namespace, *files]


def _compute(host: str) -> Argv:
    files = _config_files(config.nova_compute_config(host))
    return [layout.VENV_BIN / "python", "-m", "tests.lab.virt.compute", *files]


#: In the order in which a booting host starts them.
SERVICES = (
    Service("watchdog", _feeder, "vmha_pollsters.agent.watchdog.feeder", wanted=watchdog.enabled),
    Service("agent", _agent, "vmha_pollsters.agent.main"),
    Service("polling", _polling, "vmha_pollsters.pollsters"),
    Service("compute", _compute, "nova"),
    Service(power.NAME, _power, "ceilometer", wanted=power.enabled),
)


def check(host: str) -> str:
    """Return `host`; raises `LabError` if the lab has no such host."""
    if host not in layout.HOSTS:
        raise LabError(f"no host {host!r}: the lab has {', '.join(layout.HOSTS)}")
    return host


def process_name(host: str, service: str) -> str:
    """Return the name under which a host's service is recorded ("h1-agent")."""
    return f"{host}-{service}"


def boot_id(host: str) -> str | None:
    """Return the boot id of the host's last boot, None if it never booted."""
    with contextlib.suppress(FileNotFoundError):
        return _boot_id_file(host).read_text().strip()
    return None


def power_state(host: str) -> str:
    """Return "on" or "off": whether anything at all lives on the host."""
    return "on" if cgroup.populated(host) else "off"


def frozen(host: str) -> bool:
    """Return whether the host stands still."""
    return cgroup.frozen(host)


def boot_host(host: str) -> list[str]:
    """Power a host on and start its services; one that is on gets only what it misses.

    The network of a host that boots is well: power loss took the faults with it. Returns the
    services that were started.
    """
    with _power_lock(host):
        if power_state(host) == "off":
            _power_on(host)
        return start_services(host)


def start_services(host: str, names: Iterable[str] = ()) -> list[str]:
    """Start the services that do not run (all, or those named); return which were started."""
    wanted = set(names) or {service.name for service in SERVICES}
    started = []
    for service in SERVICES:
        name = process_name(host, service.name)
        if service.name not in wanted or process.alive(name):
            continue
        if not service.wanted(host) or not _there(service.needs):
            continue
        process.forget(name)
        process.spawn(
            name,
            service.argv(host),
            cgroup=f"{host}/services",
            netns=layout.netns(host),
            env={
                "OS_NOVA_DISABLE_EVENTLET_PATCHING": "1",
                **clocks.environment(host, service.name),
            },
            cwd=layout.host_dir(host),
        )
        started.append(service.name)
    return started


def restart_services(host: str, names: Iterable[str]) -> None:
    """End services of a host, each as an administrator would, and start them anew."""
    wanted = list(names)
    for name in wanted:
        process.stop(process_name(host, name), _STOP_TIMEOUT)
    start_services(host, wanted)


def kill(host: str, *, why: str = "kill") -> None:
    """Take a host's power away: nothing that it was doing is finished. Idempotent."""
    with _power_lock(host):
        faults.record(why, host)
        net.silence(host)
        if storage.mounted(host):
            with contextlib.suppress(LabError):  # its daemon may be dead, and is as good
                storage.set_mode(host, "off")
        cgroup.kill(host)
        _clear(host)
        faults.record("power-is-off", host)


def shutdown(host: str) -> None:
    """Stop a host's services one after the other, then its power (a planned shutdown)."""
    with _power_lock(host):
        faults.record("shutdown", host)
        for service in reversed(SERVICES):
            process.stop(process_name(host, service.name), _STOP_TIMEOUT)
        net.silence(host)
        cgroup.kill(host)
        _clear(host)
        faults.record("power-is-off", host)


def freeze(host: str) -> None:
    """Stop the whole host where it stands; a frozen kernel answers nothing either."""
    _must_be_on(host)
    net.silence(host)
    cgroup.freeze(host)
    faults.record("freeze", host)


def thaw(host: str) -> None:
    """Let a frozen host run on as if no time had passed."""
    _must_be_on(host)
    faults.record("thaw", host)
    net.unsilence(host)
    cgroup.thaw(host)


def up_all(progress: Progress = print) -> None:
    """Boot every host, all at once, with the storage's lease area and the BMCs; idempotent.

    Returns when Nova has heard of every nova-compute since its start and has it in its cell.
    """
    agent_config.prepare(progress)
    redfish.up()
    since = {host: time.time() for host in layout.HOSTS}
    with ThreadPoolExecutor(len(layout.HOSTS)) as pool:
        booted = zip(layout.HOSTS, pool.map(boot_host, layout.HOSTS), strict=True)
        began = [host for host, started in booted if "compute" in started]
    progress(f"{', '.join(layout.HOSTS)} are on")
    wait_reporting({host: since[host] for host in began})
    cloud.discover_hosts()
    progress("every nova-compute reports to Nova")


def wait_reporting(since: Mapping[str, float], timeout: float = _REPORT_TIMEOUT) -> None:
    """Wait until each host's nova-compute has reported to Nova after the given wall time.

    Raises `LabError` that names those which did not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    silent = set(since)
    while silent:
        silent -= {h for h, heard in _last_reports().items() if heard > since.get(h, heard)}
        if silent and time.monotonic() > deadline:
            logs = ", ".join(str(layout.LOGS / f"{h}-compute.log") for h in sorted(silent))
            raise LabError(f"nova-compute does not report to Nova; see {logs}")
        if silent:
            time.sleep(0.5)


def _last_reports() -> dict[str, float]:
    """Return when Nova last heard of each nova-compute (wall clock, s; 0 if never)."""
    found = nova_api.get("/os-services?binary=nova-compute")["services"]
    # Whole seconds, cut off: it may have been heard that much later.
    return {s["host"]: nova_api.epoch(s["updated_at"]) + 1 for s in found if s["updated_at"]}


def down_all() -> None:
    """Take every host away and leave nothing of them: processes, mounts, namespaces, groups."""
    watchdog.down()
    redfish.down()
    for host in layout.HOSTS:
        with _power_lock(host):
            net.silence(host)
            if storage.mounted(host):
                with contextlib.suppress(LabError):
                    storage.set_mode(host, "off")
            cgroup.kill(host)
            _clear(host)
        cgroup.remove(host)
        cgroup.remove(f"storage/{host}")
    cgroup.remove("storage")


def _power_on(host: str) -> None:
    _clear(host)
    _boot_id_file(host).write_text(f"{uuid.uuid4()}\n")
    watchdog.power_on(host)
    net.host_up(host)
    storage.mount(host)
    # Something that lives as long as the host has power, whatever becomes of its services.
    process.spawn(
        process_name(host, "kernel"),
        ["sleep", "infinity"],
        cgroup=f"{host}/kernel",
        netns=layout.netns(host),
        cwd=Path("/"),
    )
    faults.record("boot", host, boot_id=boot_id(host))


def _clear(host: str) -> None:
    """Remove what is left of a dead host."""
    starve.feed(host)
    net.host_down(host)
    storage.unmount(host)
    for name in ("kernel", *(service.name for service in SERVICES)):
        process.forget(process_name(host, name))
    if cgroup.path(host).exists():
        cgroup.thaw(host)  # an empty group that stays frozen would freeze the next boot


@contextlib.contextmanager
def _power_lock(host: str) -> Iterator[None]:
    """Let one at a time change a host's power: the command line, the BMC."""
    layout.host_dir(host).mkdir(parents=True, exist_ok=True)
    with (layout.host_dir(host) / "power.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _must_be_on(host: str) -> None:
    if power_state(host) == "off":
        raise LabError(f"{host} is off: python -m tests.lab revive {host}")


def _boot_id_file(host: str) -> Path:
    return layout.host_dir(host) / "boot_id"


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _config_files(paths: Iterable[Path]) -> list[str]:
    return [f"--config-file={path}" for path in paths]
