# SPDX-License-Identifier: Apache-2.0
"""VM-level high availability for OpenStack, from alarms."""
