# SPDX-License-Identifier: Apache-2.0
"""Serve sushy-tools' emulator with the lab's hosts as its systems: `python -m ...emulator`."""

from __future__ import annotations

import os
from typing import Any

import waitress

from tests.lab import layout, redfish

#: Hanging requests keep their thread, and the other hosts' BMCs shall go on answering.
_THREADS = 32


def application() -> Any:
    """Return the WSGI application."""
    state = layout.STATE / "redfish"
    state.mkdir(parents=True, exist_ok=True)
    os.environ.pop("SUSHY_EMULATOR_CONFIG", None)
    from sushy_tools.emulator import main as emulator

    from tests.lab.redfish.systems import LabSystems

    systems = LabSystems()
    emulator.Application.systems = property(lambda _: systems)
    emulator.app.configure(
        extra_config={
            "SUSHY_EMULATOR_AUTH_FILE": str(redfish.auth_file()),
            "SUSHY_EMULATOR_FEATURE_SET": "minimum",
            "SUSHY_EMULATOR_STATE_DIR": str(state),
        }
    )
    return emulator.app


def main() -> None:
    """Serve until ended."""
    waitress.serve(
        application(),
        host=layout.CONTROLLER,
        port=layout.PORTS["redfish"],
        threads=_THREADS,
        ident=None,
    )


if __name__ == "__main__":
    main()
