# SPDX-License-Identifier: Apache-2.0
"""Serve one OpenStack API with waitress: `python -m tests.lab.services.wsgi_runner NAME`.

waitress because it reads every request body before it answers: behind uwsgi's plain HTTP
socket an unread body resets the connection.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import waitress

from tests.lab import layout

Wsgi = Callable[..., Any]
THREADS = 8


def _keystone() -> Wsgi:
    os.environ["OS_KEYSTONE_CONFIG_FILES"] = str(layout.ETC / "keystone/keystone.conf")
    from keystone.wsgi.api import application

    return application  # type: ignore[no-any-return]


def _placement() -> Wsgi:
    os.environ["OS_PLACEMENT_CONFIG_DIR"] = str(layout.ETC / "placement")
    from placement.wsgi.api import application

    return application  # type: ignore[no-any-return]


def _glance() -> Wsgi:
    os.environ["OS_GLANCE_CONFIG_DIR"] = str(layout.ETC / "glance")
    from glance.wsgi.api import application

    return application  # type: ignore[no-any-return]


def _neutron() -> Wsgi:
    os.environ["OS_NEUTRON_CONFIG_DIR"] = str(layout.ETC / "neutron")
    os.environ["OS_NEUTRON_CONFIG_FILES"] = "neutron.conf"
    from neutron.wsgi.api import application
    from sqlalchemy.orm import configure_mappers

    # Without it the first GET /ports, if no router was ever asked for, is answered 500.
    configure_mappers()
    return application  # type: ignore[no-any-return]


def _nova() -> Wsgi:
    os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "1"
    os.environ["OS_NOVA_CONFIG_DIR"] = str(layout.ETC / "nova")
    os.environ["OS_NOVA_CONFIG_FILES"] = "api-paste.ini;nova.conf;controller.conf"
    from nova.wsgi.osapi_compute import application

    return application  # type: ignore[no-any-return]


def _gnocchi() -> Wsgi:
    sys.argv += ["--config-file", str(layout.ETC / "gnocchi/gnocchi.conf")]
    from gnocchi.cli.api import wsgi

    return wsgi()  # type: ignore[no-any-return]


def _aodh() -> Wsgi:
    from aodh.api.app import build_wsgi_app

    config = str(layout.ETC / "aodh/aodh.conf")
    return build_wsgi_app(argv=["--config-file", config])  # type: ignore[no-any-return]


def _heat() -> Wsgi:
    sys.argv += ["--config-file", str(layout.ETC / "heat/heat.conf")]
    from heat.wsgi.api import application

    return application  # type: ignore[no-any-return]


#: Each loads its application on demand: a process imports one service and no other.
APPLICATIONS: dict[str, Callable[[], Wsgi]] = {
    "keystone": _keystone,
    "placement": _placement,
    "glance": _glance,
    "neutron": _neutron,
    "nova": _nova,
    "gnocchi": _gnocchi,
    "aodh": _aodh,
    "heat": _heat,
}


def main() -> None:
    """Serve the API named on the command line until the process is ended."""
    name = sys.argv[1]
    sys.argv = [name]  # keystone, nova and neutron parse the server's command line as theirs
    waitress.serve(
        APPLICATIONS[name](),
        host=layout.CONTROLLER,
        port=layout.PORTS[name],
        threads=THREADS,
        ident=None,
    )


if __name__ == "__main__":
    main()
