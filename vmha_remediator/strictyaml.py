# SPDX-License-Identifier: Apache-2.0
"""YAML that refuses a key written twice, of which plain YAML silently keeps the last one."""

from __future__ import annotations

from typing import Any

import yaml


class StrictLoader(yaml.SafeLoader):
    """Raises `yaml.constructor.ConstructorError` at the mapping with the double key."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of `node`."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is written twice", node.start_mark
                )
        return super().construct_mapping(node, deep)
