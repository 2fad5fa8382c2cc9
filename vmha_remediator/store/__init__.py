# SPDX-License-Identifier: Apache-2.0
"""Incidents, doorbells and their durable state."""
