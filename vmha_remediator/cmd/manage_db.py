# SPDX-License-Identifier: Apache-2.0
"""vmha-manage db: the tables in which incidents are kept."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oslo_config import cfg

    from vmha_remediator.store.database import Database

#: A large table takes its time to be changed; seconds.
PATIENCE = 3600

UPGRADE = """\
Create the tables, or bring them to this version. Run it once before the first start and after
each upgrade of the package, while no older version is running; twice changes nothing.

examples:
  vmha-manage db upgrade
"""
CHECK = """\
Say which revision the tables are at and which one this version wants.

exit status: 0 they are the same; 1 they are not, or the database cannot be reached.
"""


def add_commands(subparsers: Any) -> None:
    """Add `db upgrade` and `db check`."""
    area = subparsers.add_parser("db", help="prepare and check the database")
    verbs = area.add_subparsers(metavar="COMMAND", required=True)
    for name, summary, text, func in (
        ("upgrade", "create the tables or bring them up to date", UPGRADE, _upgrade),
        ("check", "compare the tables with this version", CHECK, _check),
    ):
        parser = verbs.add_parser(
            name,
            help=summary,
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(func=func)


def _database(conf: cfg.ConfigOpts, busy: int = 0) -> Database:
    """Return the database as it is; unlike `open_store` this looks at no revision."""
    from vmha_remediator.store.database import Database

    group = conf.database
    busy = busy or group.busy_timeout
    return Database(group.connection, busy=busy, connect=group.connect_timeout)


def _upgrade(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    print(f"The database is at revision {_database(conf, PATIENCE).upgrade()}.")
    return 0


def _check(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    database = _database(conf)
    found, wanted = database.revision(), database.head()
    print(f"The tables are at revision {found or 'none'}; this version wants {wanted}.")
    if found == wanted:
        return 0
    print("Run: vmha-manage db upgrade")
    return 1
