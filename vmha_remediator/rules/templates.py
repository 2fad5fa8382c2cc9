# SPDX-License-Identifier: Apache-2.0
"""Rule templates: load them, refuse what cannot be trusted, render them for a host."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml

from vmha_remediator.errors import RuleError
from vmha_remediator.rules import lint as _lint
from vmha_remediator.rules.model import Template, Thresholds, render
from vmha_remediator.strictyaml import StrictLoader

PACKAGE = "vmha_alarm_templates"
KEYS = ("name", "severity", "action", "actions", "description", "rule")
REQUIRED = ("name", "severity", "action", "description", "rule")

__all__ = ["Template", "Thresholds", "lint", "lint_all", "load", "parse", "read", "render"]


def parse(text: str, source: str) -> Template:
    """Return the template in `text`; raises `RuleError` that names `source` and the fault.

    Only the file's shape is checked here, `lint` says whether its rule can be trusted.
    """
    try:
        raw = yaml.load(text, Loader=StrictLoader)
    except (yaml.YAMLError, RecursionError, TypeError) as exc:
        raise RuleError(f"{source}: not readable as YAML: {' '.join(str(exc).split())}") from exc
    if not isinstance(raw, dict):
        raise RuleError(f"{source}: must be a mapping with the keys {', '.join(REQUIRED)}")
    if unknown := sorted(str(k) for k in raw if k not in KEYS):
        raise RuleError(f"{source}: unknown key {', '.join(unknown)}; known: {', '.join(KEYS)}")
    if missing := [key for key in REQUIRED if key not in raw]:
        raise RuleError(f"{source}: misses {', '.join(missing)}")
    for key in ("name", "severity", "action", "description"):
        if not isinstance(raw[key], str) or not raw[key].strip():
            raise RuleError(f"{source}: {key} must be a text")
    actions = raw.get("actions", [])
    if not isinstance(actions, list) or not all(isinstance(a, str) for a in actions):
        raise RuleError(f"{source}: actions must be a list of names")
    if not isinstance(raw["rule"], dict):
        raise RuleError(f"{source}: rule must be a mapping that begins with 'and' or 'or'")
    return Template(
        name=raw["name"],
        severity=raw["severity"],
        description=raw["description"].strip(),
        action=raw["action"],
        rule=raw["rule"],
        actions=tuple(actions),
    )


def read(directory: str | Path | None = None) -> tuple[tuple[Template, ...], list[str]]:
    """Return the templates that can be read, in order of file name, and every problem found.

    Each problem is one sentence that begins with its file. Default: the packaged rules.
    """
    root: Traversable = resources.files(PACKAGE) if directory is None else Path(directory)
    templates: list[Template] = []
    problems: list[str] = []
    try:
        files = sorted((f for f in root.iterdir() if f.is_file()), key=lambda f: f.name)
        for file in files:
            if file.name.endswith((".yml", ".yaml.bak", ".yaml~")):
                problems.append(f"{file.name}: is not read; rules are files named *.yaml")
            if not file.name.endswith(".yaml"):
                continue
            try:
                template = parse(file.read_text(encoding="utf-8"), file.name)
            except (RuleError, UnicodeDecodeError) as exc:
                text = str(exc)
                problems.append(text if isinstance(exc, RuleError) else f"{file.name}: {text}")
                continue
            if file.name != f"{template.name}.yaml":
                problems.append(
                    f"{file.name}: is named {template.name}; name the file {template.name}.yaml"
                )
            templates.append(template)
    except OSError as exc:
        problems.append(f"{root}: {exc.strerror}")
    if not templates and not problems:
        problems.append(f"{root}: holds no rule (*.yaml)")
    return tuple(templates), problems


def load(
    directory: str | Path | None = None, thresholds: Thresholds | None = None
) -> tuple[Template, ...]:
    """Return the rules in `directory` (default: the packaged ones), in order of file name.

    `thresholds` are those in force, so that a number written in a rule can be held against
    them. Raises `RuleError` with every problem found: a rule that cannot be trusted must
    neither be sent to Aodh nor judged by.
    """
    templates, problems = read(directory)
    problems += lint_all(templates, thresholds)
    if problems:
        raise RuleError("the rules cannot be used: " + "; ".join(problems))
    return templates


def lint(template: Template, thresholds: Thresholds | None = None) -> list[str]:
    """Return every reason not to trust `template`, one sentence each; empty means none."""
    return _lint.check(template, thresholds or Thresholds())


def lint_all(templates: Iterable[Template], thresholds: Thresholds | None = None) -> list[str]:
    """Return `lint` of each, and what only shows when the rules are seen together."""
    return _lint.check_all(tuple(templates), thresholds or Thresholds())
