# SPDX-License-Identifier: Apache-2.0
"""What is told of somebody else's exception."""

from __future__ import annotations

import pytest
from keystoneauth1 import exceptions, noauth
from keystoneauth1.session import Session

from vmha_remediator.errors import in_short

POOL = "HTTPSConnectionPool(host='a', port=443): Max retries exceeded with url: /v3 (Caused by "


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("No way", "No way"),
        ("two\n  lines", "two lines"),
        ("", "Exception"),
        ("<html><body><h1>503 Busy</h1></body></html>", "503 Busy"),
        ("x" * 400, "x" * 297 + "..."),
        (f"{POOL}NameResolutionError(\"HTTPSConnection(host='a', port=443): Failed to resolve 'a' "
         '([Errno -2] Name or service not known)"))', "Name or service not known"),
        (f"{POOL}SSLError(SSLCertVerificationError(1, 'self-signed certificate')))",
         "SSLCertVerificationError(1, 'self-signed certificate')"),
        ("SSL exception connecting to https://a: HTTPSConnectionPool(host='a', port=443): odd",
         "SSL exception connecting to https://a: HTTPSConnectionPool(host='a', port=443): odd"),
    ],
)  # fmt: skip
def test_a_text_in_short(text: str, short: str) -> None:
    assert in_short(Exception(text)) == short


def test_nobody_listens() -> None:
    with pytest.raises(exceptions.ConnectFailure) as failed:
        Session(auth=noauth.NoAuth()).get("http://127.0.0.1:1/v3", timeout=5)
    assert in_short(failed.value).endswith("http://127.0.0.1:1/v3: Connection refused")
