# SPDX-License-Identifier: Apache-2.0
"""Wrong values in a configuration file: one sentence, which a person can act on."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmha_remediator import conf as config
from vmha_remediator.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[webhook]\nbase_url = nonsense", "[webhook] base_url: host, scheme were required"),
        ("[cloud]\ntimeout = -3", "[cloud] timeout: -3 is no number of seconds above 0"),
        ("[cloud]\ntimeout = 0", "[cloud] timeout: 0 is no number of seconds above 0"),
        ("[guards]\nstorm_share = many", "[guards] storm_share: "),
        ("[evacuation]\nbegin_wait = 0", "[evacuation] begin_wait: Should be greater than"),
    ],
)
def test_it_is_refused_and_the_reason_is_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "vmha.conf"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        config.load(config_files=[str(file)])
    assert str(refused.value).startswith(f"configuration: {says}")
    assert "Reference(" not in str(refused.value)
