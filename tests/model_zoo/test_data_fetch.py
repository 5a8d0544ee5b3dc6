"""Fetching verifies what comes, and every failure is a ConfigError."""

import hashlib
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from model_zoo.data.fetch import Download, fetch_file
from wire_protocol.errors import ConfigError

BODY = b"published bytes"


class Host(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/file" else 404)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Host) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("sha256", [hashlib.sha256(BODY).hexdigest(), None])
def test_the_published_bytes_arrive(
    host: str, tmp_path: Path, sha256: str | None
) -> None:
    path = fetch_file(Download(f"{host}/file", sha256), tmp_path)
    assert path.parent == tmp_path
    assert path.read_bytes() == BODY


def test_other_bytes_are_refused_and_removed(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot fetch .*/file: SHA256 hash"):
        fetch_file(Download(f"{host}/file", "00" * 32), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_gone_is_refused_in_one_line(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot fetch .*/gone: 404") as caught:
        fetch_file(Download(f"{host}/gone", None), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_host_that_does_not_listen_is_refused(tmp_path: Path) -> None:
    # Port 9 is "discard": reserved, and nothing listens there.
    with pytest.raises(ConfigError, match=r"127.0.0.1:9/file: .* refused"):
        fetch_file(Download("http://127.0.0.1:9/file", None), tmp_path)


def test_without_pooch_the_remedy_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ConfigError, match="pip install pooch"):
        fetch_file(Download("http://127.0.0.1:9/file", None), tmp_path)
