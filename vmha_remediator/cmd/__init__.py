# SPDX-License-Identifier: Apache-2.0
"""Entry points."""

import warnings

# Something below tooz loads eventlet where it is installed, and eventlet warns of itself. Nothing
# here uses it, and it would be the first that an operator reads.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
