# SPDX-License-Identifier: Apache-2.0
"""The status page: static files that speak to the REST API, and nothing from elsewhere."""

from __future__ import annotations

from importlib.resources import files

from flask import Blueprint, Response, redirect
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as Answer

TYPES = {
    "index.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
}
#: The page runs no code and asks no address but its own, whatever a VM's name holds.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def blueprint() -> Blueprint:
    """Return the routes /ui/ and its files."""
    pages = Blueprint("web", __name__)
    folder = files(__name__) / "static"
    content = {name: (folder / name).read_bytes() for name in TYPES}

    def serve(name: str = "index.html") -> Response:
        if name not in content:
            raise NotFound
        return Response(content[name], content_type=TYPES[name], headers=HEADERS)

    def home() -> Answer:
        return redirect("/ui/")

    for path, name, view in (("/ui", "home", home), ("/ui/", "index", serve)):
        pages.add_url_rule(path, name, view, methods=["GET"], provide_automatic_options=False)
    pages.add_url_rule("/ui/<name>", "file", serve, methods=["GET"])
    return pages
