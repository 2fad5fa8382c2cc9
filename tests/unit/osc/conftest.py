# SPDX-License-Identifier: Apache-2.0
"""The API that the commands speak to."""

from tests.unit.api.served import cloud, conf, server, store

__all__ = ["cloud", "conf", "server", "store"]  # fixtures, for the tests of this folder
