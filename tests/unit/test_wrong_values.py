# SPDX-License-Identifier: Apache-2.0
"""Wrong values in a configuration file: one sentence, which a person can act on."""

from __future__ import annotations

from pathlib import Path

import certifi
import pytest

from vmha_remediator import conf as config
from vmha_remediator.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[webhook]\nbase_url = nonsense", "[webhook] base_url: nonsense is no address such as "),
        ("[webhook]\nbase_url = ftp://c1", "[webhook] base_url: ftp://c1 is no address such as "),
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


@pytest.mark.parametrize(
    ("text", "why"), [(None, "No such file or directory"), ("nonsense", "holds no certificate")]
)
def test_authorities_that_are_not_there_are_found_at_the_start(
    tmp_path: Path, text: str | None, why: str
) -> None:
    bundle, file = tmp_path / "ca.pem", tmp_path / "vmha.conf"
    if text is not None:
        bundle.write_text(text)
    file.write_text(f"[cloud]\ncafile = {bundle}")
    with pytest.raises(ConfigError) as refused:
        config.load(config_files=[str(file)])
    says = f"configuration: [cloud] cafile: {bundle}: {why}; give the bundle with the CA"
    assert str(refused.value).startswith(says)


def test_authorities_that_are_there_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "vmha.conf"
    for found in (certifi.where(), tmp_path):
        file.write_text(f"[cloud]\ncafile = {found}")
        assert config.load(config_files=[str(file)]).cloud.cafile == str(found)
