# SPDX-License-Identifier: Apache-2.0
"""The inventory: which drivers fence which host, in which levels, with what settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stevedore import ExtensionManager

from vmha_remediator.fencing import hosts_file
from vmha_remediator.fencing.contract import FencingDriver
from vmha_remediator.fencing.hosts_file import HostsFile, Place
from vmha_remediator.fencing.settings import SettingError, parse_all

NAMESPACE = "vmha.fencing"
ORDER = "drivers"

#: A person's word that a host is off (one sentence), or None.
Confirmed = Callable[[str], str | None]


@dataclass(frozen=True)
class Method:
    """One driver, made for one host; `name` is the driver's, or `driver:label`."""

    name: str
    driver: FencingDriver


#: Methods that must all succeed for a proof.
Level = tuple[Method, ...]


@dataclass(frozen=True)
class Inventory:
    """What the file says: a host's levels, or why its entry cannot be used.

    `notes` are mistakes that belong to no host. Every problem and note names file and line.
    """

    path: str
    levels: Mapping[str, tuple[Level, ...]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def hosts(self) -> list[str]:
        """Return every host named in the file."""
        return sorted({*self.levels, *self.problems})

    def trouble(self, host: str) -> str | None:
        """Return why `host` cannot be fenced, with the way out; None when it can be."""
        if host in self.problems:
            return self.problems[host]
        if host not in self.levels:
            return (
                f"{self.path} has no entry for {host}: add one under 'hosts', or power the host "
                f"off and add 'drivers: [manual]' to confirm it"
            )
        return None


def driver_classes() -> dict[str, type[FencingDriver]]:
    """Return the installed drivers by name (entry points `vmha.fencing`)."""
    manager = ExtensionManager(NAMESPACE, on_load_failure_callback=lambda *_: None)
    return {extension.name: extension.plugin for extension in manager}


def load(path: str, *, timeout: float, confirmed: Confirmed, evidence: object = None) -> Inventory:
    """Read the file; a missing one names no host.

    Raises `ConfigError` when it cannot be read or is not laid out as a hosts file. What is
    wrong with one host's entry becomes that host's problem and no other's.
    """
    file = hosts_file.read(path)
    classes = driver_classes()
    common = {"timeout": timeout, "confirmed": confirmed, "evidence": evidence}
    levels: dict[str, tuple[Level, ...]] = {}
    problems: dict[str, str] = {}
    for name, entry in file.hosts.items():
        host = str(name)
        try:
            levels[host] = tuple(_levels(host, file, entry, classes, common))
        except SettingError as exc:
            problems[host] = f"{_where(file, host, exc.key)}: host {host}, {exc}"
    for host, problem in _shared_targets(levels).items():
        problems[host] = f"{_where(file, host, '')}: {problem}"
        del levels[host]
    return Inventory(path, levels, problems, tuple(_notes(file, classes)))


def _where(file: HostsFile, host: str, key: str) -> str:
    """Return file and line of what is wrong with `key`: the host's own, else the default's."""
    method, _, setting = key.rpartition(".") if "." in key else (key, "", "")
    name = method.partition(":")[0]
    own: Place = ("hosts", host)
    places: list[Place] = []
    if setting:
        places = [(*own, method, setting), ("defaults", method, setting)]
        places += [("defaults", name, setting)]
    if method:
        places += [(*own, method), ("defaults", method), ("defaults", name)]
    return file.at(*places, own)


def _notes(file: HostsFile, classes: Mapping[str, object]) -> Iterator[str]:
    """Yield what the defaults hold and nobody will ever look at."""
    for key in map(str, file.defaults):
        if key != ORDER and key.partition(":")[0] not in classes:
            yield (
                f"{file.at(('defaults', key))}: defaults, {key}: no driver of that name is "
                f"installed; installed are {', '.join(sorted(classes))}"
            )


def _levels(
    host: str,
    file: HostsFile,
    entry: Any,
    classes: Mapping[str, type[FencingDriver]],
    common: Mapping[str, Any],
) -> Iterator[Level]:
    """Yield the host's levels, made; raises `SettingError` with the key at fault."""
    own = {} if entry is None else entry
    if not isinstance(own, dict):
        raise SettingError(ORDER, "the host's entry must hold keys and values")
    methods = list(_order(own.get(ORDER, file.defaults.get(ORDER))))
    named = [method for level in methods for method in level]
    for key in own:
        if key != ORDER and key not in named:
            raise SettingError(str(key), f"is not among this host's {ORDER}")
    for method in named:
        if named.count(method) > 1:
            raise SettingError(
                ORDER, f"{method!r} is named twice; a label tells two apart, as in '{method}:left'"
            )
    for level in methods:
        yield tuple(_method(host, method, file, own, classes, common) for method in level)


def _order(raw: Any) -> Iterator[tuple[str, ...]]:
    """Yield the methods of each level: `[redfish, [a, b]]` has one, then two together."""
    if not isinstance(raw, list) or not raw:
        raise SettingError(ORDER, "name at least one, such as [redfish, manual]")
    for item in raw:
        level = item if isinstance(item, list) else [item]
        if not level or not all(isinstance(method, str) for method in level):
            raise SettingError(ORDER, f"must hold driver names or lists of them, not {item!r}")
        yield tuple(level)


def _method(
    host: str,
    method: str,
    file: HostsFile,
    own: Mapping[Any, Any],
    classes: Mapping[str, type[FencingDriver]],
    common: Mapping[str, Any],
) -> Method:
    """Make one driver; `method` is its name, or name:label when a host uses it twice."""
    name = method.partition(":")[0]
    if name not in classes:
        known = ", ".join(sorted(classes))
        raise SettingError(ORDER, f"no driver {name!r} is installed; installed are {known}")
    given: dict[str, Any] = {}
    for section in (file.defaults.get(name), file.defaults.get(method), own.get(method)):
        if section is not None and not isinstance(section, dict):
            raise SettingError(method, "must hold keys and values")
        given |= section or {}
    given = {key: _fill(value, host) for key, value in given.items()}
    try:
        settings = parse_all(classes[name].SETTINGS, given) | dict(common)
        return Method(method, classes[name](host, settings))
    except SettingError as exc:
        raise SettingError(f"{method}.{exc.key}", str(exc).partition(": ")[2]) from exc


def _fill(value: Any, host: str) -> Any:
    """Replace `{host}`, so that defaults can name every host's BMC at once."""
    return value.replace("{host}", host) if isinstance(value, str) else value


def _shared_targets(levels: Mapping[str, tuple[Level, ...]]) -> dict[str, str]:
    """Find hosts that would switch off the same machine: one would be shot for another."""
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for host, own in levels.items():
        for target in (method.driver.target for level in own for method in level):
            if target is not None:
                owners[target].add(host)
    return {
        host: f"hosts {', '.join(sorted(hosts))} all switch off {target}; one of them would be "
        "powered off for another"
        for target, hosts in owners.items()
        if len(hosts) > 1
        for host in hosts
    }
