# SPDX-License-Identifier: Apache-2.0
"""Where incidents are kept."""

from vmha_remediator.store.hints import Doorbell, Leader
from vmha_remediator.store.store import Store, open_store, store_to_read

__all__ = ["Doorbell", "Leader", "Store", "open_store", "store_to_read"]
