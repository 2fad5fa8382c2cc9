# SPDX-License-Identifier: Apache-2.0
"""The only room that talks to the outside: clouds, clocks, reports."""
