# SPDX-License-Identifier: Apache-2.0
"""The watchdog: resets this host when nobody can vouch any more that it lives."""
