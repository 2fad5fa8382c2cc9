# SPDX-License-Identifier: Apache-2.0
"""The lab's one error: a sentence for the person at the terminal."""

from __future__ import annotations


class LabError(Exception):
    """Something of the lab cannot go on; the text says what, and what to do about it."""


class Busy(LabError):
    """Nova is at work on a VM, and refuses anything else until it is done."""
