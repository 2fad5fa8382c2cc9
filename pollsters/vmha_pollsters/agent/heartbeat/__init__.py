# SPDX-License-Identifier: Apache-2.0
"""Heartbeats on the management network: one thread that sends, listens and acknowledges."""
