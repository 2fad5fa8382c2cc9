# SPDX-License-Identifier: Apache-2.0
"""PURE: who watches, who may be believed, and what all of them together say of each host.

Everything here takes plain data and returns plain data: ages in seconds, None for "I do not
know". Nothing here reads a clock.
"""
