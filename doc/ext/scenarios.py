# SPDX-License-Identifier: Apache-2.0
"""Sphinx: each scenario's story as a section (`.. scenarios::`), and links (`:scenario:`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

ROOT = Path(__file__).resolve().parents[2] / "tests/scenarios"


def _label(name: str) -> str:
    return f"scenario-{name}"


class Scenarios(SphinxDirective):
    """A section for each folder of tests/scenarios: its README and the log that is expected."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # a new folder shows in no file that the page depends on
        lines: list[str] = []
        for script in sorted(ROOT.glob("*/script.yaml")):
            folder = script.parent
            name = folder.name
            lines += ["", f".. _{_label(name)}:", "", name, "-" * len(name), ""]
            readme = folder / "README"
            self.env.note_dependency(str(readme))
            lines += [f"| {line}" for line in readme.read_text(encoding="utf-8").splitlines()]
            log = folder / "log.expect"
            if log.exists():
                lines += ["", f".. literalinclude:: /../../tests/scenarios/{name}/log.expect"]
                lines += ["   :language: none", ""]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


class Scenario(SphinxRole):
    """A link to one scenario; an unknown one is a warning, hence an error of the build."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        node = addnodes.pending_xref(
            refdomain="std", reftype="ref", reftarget=_label(self.text), refexplicit=True,
            refwarn=True, refdoc=self.env.docname,
        )  # fmt: skip
        node += nodes.literal(text=self.text)
        return [node], []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both."""
    app.add_directive("scenarios", Scenarios)
    app.add_role("scenario", Scenario())
    return {"parallel_read_safe": True}
