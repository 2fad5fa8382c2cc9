# SPDX-License-Identifier: Apache-2.0
"""The lab's virt driver for Nova, whose guests are small real processes."""
