# SPDX-License-Identifier: Apache-2.0
"""nova-compute, with the lab's driver where Nova looks for drivers.

Run as `python -m tests.lab.virt.compute --config-file ...`; everything else is Nova's.
"""

from __future__ import annotations

import sys

from nova.cmd import compute as nova_compute  # first: it chooses how Nova's threads work

from tests.lab.virt import driver


def main() -> None:
    """Run nova-compute; `compute_driver = vmha_lab.LabDriver` finds our driver."""
    sys.modules["nova.virt.vmha_lab"] = driver
    nova_compute.main()


if __name__ == "__main__":
    main()
