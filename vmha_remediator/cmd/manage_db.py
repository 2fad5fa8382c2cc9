# SPDX-License-Identifier: Apache-2.0
"""vmha-manage db: the tables in which incidents are kept."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from vmha_remediator.errors import StoreUnavailable

if TYPE_CHECKING:
    from oslo_config import cfg

    from vmha_remediator.store.database import Database

DAY = 86400.0

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
PURGE = """\
Remove incidents that have been over for DAYS days, with their journals. Incidents that are
active, or of which something is still to be reported, stay.

examples:
  vmha-manage db purge --older-than 90
"""


def add_commands(subparsers: Any) -> None:
    """Add `db upgrade`, `db check` and `db purge`."""
    area = subparsers.add_parser("db", help="prepare, check and tidy the database")
    verbs = area.add_subparsers(metavar="COMMAND", required=True)
    for name, summary, text, func in (
        ("upgrade", "create the tables or bring them up to date", UPGRADE, _upgrade),
        ("check", "compare the tables with this version", CHECK, _check),
        ("purge", "remove what is long over", PURGE, _purge),
    ):
        parser = verbs.add_parser(
            name,
            help=summary,
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(func=func)
    parser.add_argument(
        "--older-than", type=_days, required=True, metavar="DAYS", help="whole days, 1 or more"
    )


def _days(text: str) -> int:
    days = int(text)
    if days < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {days}")
    return days


def _database(conf: cfg.ConfigOpts) -> Database:
    """Return the database as it is; unlike `open_store` this looks at no revision."""
    from vmha_remediator.store.database import Database

    group = conf.database
    return Database(group.connection, busy=group.busy_timeout, connect=group.connect_timeout)


def _upgrade(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    print(f"The database is at revision {_database(conf).upgrade()}.")
    return 0


def _check(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    database = _database(conf)
    if database.path is not None and not database.path.exists():
        raise StoreUnavailable(f"there is no {database.path}; run: vmha-manage db upgrade")
    found, wanted = database.revision(), database.head()
    print(f"The tables are at revision {found or 'none'}; this version wants {wanted}.")
    if found == wanted:
        return 0
    print("Run: vmha-manage db upgrade")
    return 1


def _purge(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    from vmha_remediator.store import open_store
    from vmha_remediator.store.purge import purge

    store = open_store(conf)
    count = purge(store.database, time.time() - args.older_than * DAY)
    print(f"Removed {count} incident(s) closed more than {args.older_than} day(s) ago.")
    return 0
