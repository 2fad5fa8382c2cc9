# SPDX-License-Identifier: Apache-2.0
"""Where incidents are kept."""

from vmha_remediator.store.store import Doorbell, Leader, Store, open_store

__all__ = ["Doorbell", "Leader", "Store", "open_store"]
