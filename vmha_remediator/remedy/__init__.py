# SPDX-License-Identifier: Apache-2.0
"""PURE decisions about incidents: states, plans, guards."""
