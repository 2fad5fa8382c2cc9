# SPDX-License-Identifier: Apache-2.0
"""The loop: look, judge, plan, act, say so."""
