# SPDX-License-Identifier: Apache-2.0
"""The simulated cloud that the scenarios run in."""
