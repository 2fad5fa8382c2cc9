# SPDX-License-Identifier: Apache-2.0
"""The DevStack plugin, sourced with stand-ins for DevStack's own functions."""
