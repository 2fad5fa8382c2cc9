# SPDX-License-Identifier: Apache-2.0
"""Everything is said in setup.cfg; this file lets old front ends build too."""

import setuptools

setuptools.setup()
