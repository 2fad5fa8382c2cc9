# SPDX-License-Identifier: Apache-2.0
"""One verb of a command; standard library only, so that --help is fast."""

from __future__ import annotations

import argparse
from typing import Any


def add_verb(verbs: Any, name: str, summary: str, text: str) -> argparse.ArgumentParser:
    """Add a verb with a one-line `summary` and a `text` of help, and return its parser."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser
