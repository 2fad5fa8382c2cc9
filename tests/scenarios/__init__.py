# SPDX-License-Identifier: Apache-2.0
"""Faults on a virtual clock: the real agents and the real engine in one process."""
