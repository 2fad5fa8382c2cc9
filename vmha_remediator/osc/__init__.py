# SPDX-License-Identifier: Apache-2.0
"""`openstack vmha ...`: the plugin for python-openstackclient."""
