# SPDX-License-Identifier: Apache-2.0
"""PURE rules: what is measured, what it means, how long it takes."""
