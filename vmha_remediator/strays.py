# SPDX-License-Identifier: Apache-2.0
"""What a configuration file says and nothing reads: oslo.config passes over it in silence."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping

from oslo_config import cfg

#: How like a name has to be to be suggested (difflib's ratio; its own default is 0.6).
ALIKE = 0.75

Known = Mapping[str, Collection[str]]


def strays(files: Iterable[str], known: Known, others: tuple[str, ...] = ()) -> list[str]:
    """Return a sentence for each option or section of `files` that nothing reads.

    `known` maps sections to their options. Sections whose names begin with one of `others` are
    read by libraries and left alone; so are options of [DEFAULT] that resemble none of ours, for
    libraries have theirs there. Raises `cfg.Error` for a file that is none.
    """
    return [
        f"{file}: nothing reads {what}{_hint(section, option, known)}"
        for file in files
        for section, option, what in _unread(file, known, others)
    ]


def _unread(file: str, known: Known, others: tuple[str, ...]) -> Iterable[tuple[str, str, str]]:
    sections: dict[str, dict[str, list[str]]] = {}
    cfg.ConfigParser(file, sections).parse()
    for written, options in sections.items():
        section = written if written == "DEFAULT" else written.lower()  # as oslo.config has it
        if section.startswith(others):
            continue
        if section not in known and section != "DEFAULT":
            yield section, "", f"[{written}]"
            continue
        for option in options:
            if option in known.get(section, ()):
                continue
            if section != "DEFAULT" or _hint(section, option, known):
                yield section, option, f"[{written}] {option}"


def _hint(section: str, option: str, known: Known) -> str:
    """Return what was probably meant; "" when nothing resembles it."""
    if not option:
        close = [f"[{name}]" for name in difflib.get_close_matches(section, known, 1, ALIKE)]
    else:
        close = [f"[{name}] {option}" for name, options in known.items() if option in options]
        close = close or difflib.get_close_matches(option, known.get(section, ()), 1, ALIKE)
    return f"; did you mean {' or '.join(close)}?" if close else ""
