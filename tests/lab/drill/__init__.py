# SPDX-License-Identifier: Apache-2.0
"""Faults played on the real lab, each with what has to come of it."""
