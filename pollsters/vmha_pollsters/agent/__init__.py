# SPDX-License-Identifier: Apache-2.0
"""vmha-agent: heartbeats, leases, witnesses."""
