# SPDX-License-Identifier: Apache-2.0
"""One line out, one back; a connection that is in trouble is opened anew."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vmha_pollsters.line import CHUNK, Line

Serve = Callable[[Callable[[bytes], bytes]], Line]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    servers: list[socketserver.BaseServer] = []

    def start(reply: Callable[[bytes], bytes]) -> Line:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    answer = reply(line.rstrip(b"\n"))
                    if not answer:
                        return
                    self.wfile.write(answer)

        path = str(tmp_path / "socket")
        servers.append(socketserver.ThreadingUnixStreamServer(path, Handler))
        servers[-1].daemon_threads = True  # type: ignore[attr-defined]
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,), daemon=True).start()
        return Line(path, 5.0, most=4 * CHUNK)

    yield start
    for server in servers:
        server.shutdown()


def test_questions_go_over_one_connection(serve: Serve) -> None:
    line = serve(lambda asked: b"<" + asked + b">\n")
    assert [line.ask(b"one"), line.ask(b"two")] == [b"<one>", b"<two>"]
    line.close()


def test_a_long_answer_comes_whole(serve: Serve) -> None:
    line = serve(lambda asked: b"x" * 3 * CHUNK + b"\n")
    assert line.ask(b"") == b"x" * 3 * CHUNK
    line.close()


def test_one_that_is_longer_than_it_may_be_is_refused(serve: Serve) -> None:
    line = serve(lambda asked: b"x" * 5 * CHUNK + b"\n")
    with pytest.raises(OSError, match="Message too long"):
        line.ask(b"")


def test_a_connection_that_was_closed_is_an_error_once(serve: Serve) -> None:
    line = serve(lambda asked: b"" if asked == b"go" else b"yes\n")
    assert line.ask(b"is anybody there") == b"yes"
    with pytest.raises(OSError, match="reset"):
        line.ask(b"go")
    assert line.ask(b"again") == b"yes"
    line.close()


def test_nobody_there_names_the_trouble(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Line(str(tmp_path / "none"), 1.0).ask(b"")
