# SPDX-License-Identifier: Apache-2.0
"""[database]: where incidents are kept."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "database"

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "connection",
        default="sqlite:////var/lib/vmha/vmha.sqlite",
        secret=True,
        help="SQLAlchemy URL of the database: sqlite:////PATH for one controller, "
        "mysql+pymysql://... or postgresql://... when several share it. Wrong or down: nothing "
        "is fenced or evacuated, and every cycle says what it waits for.",
    ),
    cfg.IntOpt(
        "busy_timeout",
        default=10,
        min=1,
        help="Seconds to wait for an answer of a database server, or for a SQLite database that "
        "another process is writing. Too short: a cycle now and then says that the database "
        "cannot be used and is done again; too long: a hanging server is noticed late.",
    ),
    cfg.IntOpt(
        "connect_timeout",
        default=5,
        min=1,
        help="Seconds to wait for a database server. Too short for a slow network: cycles are "
        "lost; too long: a dead database is noticed late.",
    ),
    cfg.IntOpt(
        "connection_recycle_time",
        default=3600,
        min=1,
        help="Seconds after which a connection is opened anew. Longer than the server's own "
        "limit: the first query after a quiet hour fails and is done again.",
    ),
]
