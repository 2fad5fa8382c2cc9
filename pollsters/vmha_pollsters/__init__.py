# SPDX-License-Identifier: Apache-2.0
"""The evidence room: the agent of every host and its ceilometer pollsters."""
