# SPDX-License-Identifier: Apache-2.0
"""The commands that the documents show, as a reader would type them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.rst", ROOT / "CONTRIBUTING.rst", ROOT / "devstack/README.rst",
    ROOT / "tests/scenarios/README.rst", *sorted((ROOT / "doc/source").rglob("*.rst")),
]  # fmt: skip
#: Languages of blocks that may hold commands; "" is a plain literal block.
SHELLS = frozenset({"", "console", "shell", "bash", "sh"})
#: Words in the running text are a command if they begin with one of these and go on.
PROGRAMS = (
    "vmha-manage", "vmha-agent", "openstack", "oslo-config-generator", "make", "python",
    "oslopolicy-sample-generator", "systemctl", "curl", "pip", ".venv/bin/python",
)  # fmt: skip
_INLINE = re.compile(rf"(?<!`)``((?:{'|'.join(map(re.escape, PROGRAMS))})\s[^`]+)``")
#: Plain blocks that are no commands, by how they begin: settings, drawings, what a program prints.
NO_COMMANDS = re.compile(r"\[|\{|[+|]-|every host |typical +worst|devstack@|redfish proved|h3 had")


@dataclass(frozen=True)
class Command:
    """One command of a page, without its prompt and comment; lines that go on are joined."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (language, lines) of every literal block, lines without their indentation."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        found = re.match(r"( *)\.\. code-block:: *(\S*)", line)
        if found is None and (not line.rstrip().endswith("::") or line.lstrip().startswith("..")):
            continue
        indent = len(line) - len(line.lstrip())
        body: list[str] = []
        for after in lines[number + 1 :]:
            if after.strip() and len(after) - len(after.lstrip()) <= indent:
                break
            body.append(after)
        while body and not body[0].strip():
            body.pop(0)
        margin = min((len(x) - len(x.lstrip()) for x in body if x.strip()), default=0)
        yield (found[2] if found else ""), [x[margin:].rstrip() for x in body]


def _commands(lines: list[str]) -> Iterator[str]:
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    prompts = any(re.match(r"[#$] ", line) for line in joined)
    for line in joined:
        if prompts and not re.match(r"[#$] ", line):
            continue  # what a command prints
        text = re.sub(r"^[#$] ", "", line)
        text = re.split(r"(?:^|\s+)#\s", text)[0].strip()
        if text and not line.startswith(" "):
            yield text


def commands() -> list[Command]:
    """Return every command of every page, each once a page."""
    found: dict[Command, None] = {}
    for page in PAGES:
        name, text = str(page.relative_to(ROOT)), page.read_text(encoding="utf-8")
        found |= {Command(name, " ".join(words.split())): None for words in _INLINE.findall(text)}
        for language, lines in _blocks(text):
            if language not in SHELLS or not lines or NO_COMMANDS.match(lines[0].lstrip()):
                continue
            found |= {Command(name, text): None for text in _commands(lines)}
    return list(found)


if __name__ == "__main__":
    for command in commands():
        print(command)
