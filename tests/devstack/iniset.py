# SPDX-License-Identifier: Apache-2.0
"""iniset FILE SECTION OPTION VALUE: sets one option, as DevStack's function of that name does."""

import configparser
import sys
from pathlib import Path

path, section, option, value = sys.argv[1:]
parser = configparser.RawConfigParser(default_section="\0")
parser.optionxform = str  # type: ignore[assignment,method-assign]
parser.read(path)
if not parser.has_section(section):
    parser.add_section(section)
parser.set(section, option, value)
Path(path).parent.mkdir(parents=True, exist_ok=True)
with Path(path).open("w") as file:
    parser.write(file)
