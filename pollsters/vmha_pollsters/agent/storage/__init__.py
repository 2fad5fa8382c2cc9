# SPDX-License-Identifier: Apache-2.0
"""The slots area on storage: one thread renews this host's slot, one reads the others'.

Any call in here may hang for as long as the storage does. Nobody waits for these threads:
the rest of the agent sees when they last succeeded, and how.
"""
