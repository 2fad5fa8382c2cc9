# SPDX-License-Identifier: Apache-2.0
"""The rules, as data: one YAML file a verdict."""
