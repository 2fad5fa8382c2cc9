# SPDX-License-Identifier: Apache-2.0
"""Parsers whose help keeps its line breaks; standard library only, so that --help is fast."""

from __future__ import annotations

import argparse
from pathlib import Path

DEFAULT_CONFIG = Path("/etc/vmha/vmha.conf")
NO_CONFIG = f"{DEFAULT_CONFIG} is not there: write it, or name another with --config-file"


def found_config(args: argparse.Namespace) -> list[str] | None:
    """Return the files that were named, or the one that is in its place; None: there is none."""
    if args.config_file is None and DEFAULT_CONFIG.exists():
        return [str(DEFAULT_CONFIG)]
    named: list[str] | None = args.config_file
    return named


def top_parser(prog: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Return the parser of a command, with the option that every command has."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config-file",
        action="append",
        metavar="FILE",
        help=f"configuration file; repeatable, later ones win (default: {DEFAULT_CONFIG})",
    )
    return parser
