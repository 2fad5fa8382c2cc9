# SPDX-License-Identifier: Apache-2.0
"""Reading the hosts file: its values, and the line on which each of them stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vmha_remediator.errors import ConfigError
from vmha_remediator.strictyaml import StrictLoader

SECTIONS = ("defaults", "hosts")
#: Where a value stands: its keys from the top, list positions as numbers.
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class HostsFile:
    """The document and its lines."""

    path: str
    defaults: Mapping[Any, Any] = field(default_factory=dict)
    hosts: Mapping[Any, Any] = field(default_factory=dict)
    lines: Mapping[Place, int] = field(default_factory=dict)

    def at(self, *places: Place) -> str:
        """Return path:line of the first of these places that the file has."""
        found = (self.lines[place] for place in places if place in self.lines)
        line = next(found, None)
        return self.path if line is None else f"{self.path}:{line}"


def read(path: str) -> HostsFile:
    """Return what the file says; a missing one says nothing.

    Raises `ConfigError` when it cannot be read, is no YAML, or is not laid out as a hosts file.
    """
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        return HostsFile(path)
    except OSError as exc:
        raise ConfigError(f"[fencing] hosts_file {path}: {exc.strerror}") from exc
    try:
        document = yaml.load(raw, Loader=StrictLoader)
        node = yaml.compose(raw, Loader=StrictLoader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f" line {mark.line + 1}" if mark else ""
        reason = getattr(exc, "problem", None) or "cannot be parsed"
        raise ConfigError(f"{path}:{place} is no YAML: {reason}") from exc
    lines = dict(_lines(node, ()))
    empty = HostsFile(path, lines=lines)
    top = _mapping(document, path)
    for key in top:
        if key not in SECTIONS:
            raise ConfigError(
                f"{empty.at((str(key),))}: unknown key {str(key)!r}; known are "
                f"{', '.join(SECTIONS)}"
            )
    sections = {name: _mapping(top.get(name), f"{empty.at((name,))}: {name}") for name in SECTIONS}
    return HostsFile(path, sections["defaults"], sections["hosts"], lines)


def _mapping(value: Any, where: str) -> Mapping[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: must hold keys and values, not {type(value).__name__}")
    return value


def _lines(node: yaml.Node | None, place: Place) -> Iterator[tuple[Place, int]]:
    """Yield every value's place and the line of its key (of itself, in a list)."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            yield inner, key.start_mark.line + 1
            yield from _lines(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            inner = (*place, number)
            yield inner, value.start_mark.line + 1
            yield from _lines(value, inner)
