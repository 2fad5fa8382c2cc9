# SPDX-License-Identifier: Apache-2.0
"""Random faults on random clusters, from a seed; the invariants always hold."""

from __future__ import annotations


def main(argv: list[str]) -> int:
    """Explore."""
    return 0
