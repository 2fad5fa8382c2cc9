# SPDX-License-Identifier: Apache-2.0
"""How the documentation is built."""

import configparser
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ext"))

_setup = configparser.ConfigParser()
_setup.read(Path(__file__).resolve().parents[2] / "setup.cfg", encoding="utf-8")

project = "vmha"
author = "the vmha authors"
project_copyright = author
release = _setup["metadata"]["version"]

extensions = ["scenarios", "sphinx.ext.graphviz"]
graphviz_output_format = "svg"
html_theme = "furo"
html_title = f"vmha {release}"
nitpicky = True
# Pages show what code prints and what files hold; nothing of that is prose to be "improved".
smartquotes = False
