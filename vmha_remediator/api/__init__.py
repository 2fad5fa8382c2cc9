# SPDX-License-Identifier: Apache-2.0
"""The HTTP face: webhooks in, later the REST API."""
