# SPDX-License-Identifier: Apache-2.0
"""vmha-manage telemetry: what Gnocchi and Ceilometer must know before evidence can flow."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmha_remediator.errors import ConfigError
from vmha_remediator.verb import add_verb

if TYPE_CHECKING:
    from oslo_config import cfg

SETUP = """\
Create the archive policy and the resource type that the evidence needs. Run it once a cloud,
as an admin; running it again changes nothing.

examples:
  vmha-manage telemetry setup --dry-run
  vmha-manage telemetry setup
"""
RENDER = """\
Write polling.yaml, pipeline.yaml and vmha_resources.yaml for the vmha namespace of Ceilometer,
derived from the table of metrics. DIR is where they will lie on the machines that use them.
The polling files go to every host, the other two to the ceilometer notification agents; if
those carry other samples too, add our source and sink to their pipeline.yaml and exclude
'!vmha.*' from its other sources.

--vms: the same pipeline takes the power state of VMs in, so that a dead one is found within
seconds; then exclude '!power.state' from the other sources as well.

examples:
  vmha-manage telemetry render --dir /etc/vmha/ceilometer
  vmha-manage telemetry render --dir /etc/vmha/ceilometer --vms
"""


def add_commands(subparsers: Any) -> None:
    """Add `telemetry setup` and `telemetry render`."""
    area = subparsers.add_parser("telemetry", help="prepare Gnocchi and Ceilometer")
    verbs = area.add_subparsers(metavar="COMMAND", required=True)

    setup = add_verb(verbs, "setup", "create archive policy and resource type", SETUP)
    setup.add_argument("--dry-run", action="store_true", help="only say what would be done")
    setup.set_defaults(func=_setup)

    render = add_verb(verbs, "render", "write Ceilometer's files", RENDER)
    render.add_argument("--dir", required=True, metavar="DIR", help="folder to write into")
    render.add_argument("--vms", action="store_true", help="power.state of VMs, too")
    render.set_defaults(func=_render)


def _setup(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    from vmha_remediator.effects.gnocchi import Gnocchi
    from vmha_remediator.effects.session import make_session

    for line in Gnocchi(make_session(conf), conf).setup(dry_run=args.dry_run):
        print(line)
    return 0


def _render(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    from vmha_remediator.rules import pipeline

    directory = Path(args.dir).absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        interval = conf.telemetry.publish_interval
        for name, text in pipeline.files(directory, interval, args.vms).items():
            path = directory / name
            same = path.exists() and path.read_text() == text
            if not same:
                path.write_text(text)
            print(f"{path}: {'is as it should be' if same else 'written'}")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot write into {directory}: {exc}") from exc
    return 0
