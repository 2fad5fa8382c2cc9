# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.lab VERB`."""

from __future__ import annotations

import sys

from tests.lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
