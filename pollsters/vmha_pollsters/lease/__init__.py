# SPDX-License-Identifier: Apache-2.0
"""Lease drivers: how a host shows on shared storage that it is alive."""
