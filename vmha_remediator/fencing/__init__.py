# SPDX-License-Identifier: Apache-2.0
"""Making sure that a host no longer runs anything, and proving it."""
