"""Verified download, against a server on the loopback interface: no test touches the network."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from minivae.data import DataError, available, fetch, load
from minivae.data import download as download_module
from minivae.data.sources import SOURCES, File, Source


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


IMAGES = np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8)
LABELS = np.arange(30, dtype=np.uint8) % 10
CONTENT = {
    "train-images-idx3-ubyte.gz": idx(IMAGES),
    "train-labels-idx1-ubyte.gz": idx(LABELS),
    "t10k-images-idx3-ubyte.gz": idx(IMAGES[:7]),
    "t10k-labels-idx1-ubyte.gz": idx(LABELS[:7]),
}
FIRST = next(iter(CONTENT))


class Server:
    """Serves CONTENT under /good/, damaged under /wrong/ and /cut/, nothing elsewhere; counts requests."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                _, folder, name = self.path.split("/")
                body = CONTENT[name]
                self.send_response(200 if folder in ("good", "wrong", "cut") else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                damaged = {"wrong": body[:-1] + b"?", "cut": body[: len(body) // 2]}
                self.wfile.write(damaged.get(folder, body))

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def url(self, folder: str) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/{folder}/"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[Server]:
    """A running server; an empty cache in tmp_path / "cache"; no MINIVAE_DATA, no proxy."""
    monkeypatch.delenv("MINIVAE_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download_module, "cache_folder", lambda: tmp_path / "cache")
    running = Server()
    yield running
    running.close()


@pytest.fixture
def serve(server, monkeypatch):
    """serve("a", "b"): "mnist" is now small, and comes from these two folders of the server, in order."""
    hashes = {name: f"sha256:{hashlib.sha256(body).hexdigest()}" for name, body in CONTENT.items()}
    files = tuple(File(name, len(body), hashes[name]) for name, body in CONTENT.items())

    def use(*folders: str) -> None:
        mirrors = tuple(server.url(folder) for folder in folders)
        monkeypatch.setitem(SOURCES, "mnist", Source("mnist", 30, 7, (28, 28), "unit", files, mirrors))

    return use


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_download_is_verified_cached_and_not_repeated(server, serve, tmp_path, capfd):
    serve("good")
    data = load("mnist")
    assert np.array_equal(data.train, IMAGES.reshape(30, 784) / np.float32(255))
    assert data.test_labels.tolist() == LABELS[:7].tolist()
    assert server.requests == [f"/good/{name}" for name in CONTENT]
    assert FIRST in capfd.readouterr().err                    # the progress bar says which file
    assert {p.name: p.read_bytes() for p in files_in(tmp_path / "cache" / "mnist")} == CONTENT
    again = load("mnist")
    assert np.array_equal(again.train, data.train)
    assert len(server.requests) == 4                                          # the second load asked nobody
    assert capfd.readouterr().err == ""                                       # and said nothing


def test_fetch_returns_the_paths_and_available_finds_them(serve, tmp_path):
    serve("good")
    where = {row.name: row.where for row in available()}
    assert where["mnist"].startswith("to download")
    assert fetch("mnist") == [tmp_path / "cache" / "mnist" / name for name in CONTENT]
    where = {row.name: row.where for row in available()}
    assert where["mnist"] == str(tmp_path / "cache" / "mnist")


@pytest.mark.parametrize("bad", ["missing", "wrong", "cut"])
def test_the_next_mirror_is_tried(server, serve, bad):
    serve(bad, "good")
    assert len(load("mnist").train) == 30
    assert server.requests[:2] == [f"/{bad}/{FIRST}", f"/good/{FIRST}"]


@pytest.mark.parametrize(("bad", "reason"), [("missing", "404"), ("wrong", "wrong hash"), ("cut", "")])
def test_a_bad_download_says_what_to_do_and_leaves_nothing(server, serve, tmp_path, bad, reason):
    serve(bad)
    with pytest.raises(DataError, match=f"mnist: could not download {FIRST}") as caught:
        load("mnist")
    message = str(caught.value)
    assert server.url(bad) + FIRST in message
    assert reason in message
    assert "put the file in FOLDER/mnist and set MINIVAE_DATA=FOLDER" in message
    assert files_in(tmp_path) == []


def test_without_any_server_the_error_names_every_mirror(server, serve, tmp_path):
    serve("good", "also")
    server.close()
    with pytest.raises(DataError, match="could not download") as caught:
        load("mnist")
    message = str(caught.value)
    assert "ConnectionError" in message
    assert all(server.url(folder) in message for folder in ("good", "also"))
    assert "MINIVAE_DATA" in message
    assert files_in(tmp_path) == []


def test_a_download_cut_short_goes_on_where_it_stopped(server, serve):
    serve("good")
    fetch("mnist")[1].unlink()
    fetch("mnist")
    assert server.requests[4:] == [f"/good/{list(CONTENT)[1]}"]


def test_a_damaged_cache_heals(server, serve):
    serve("good")
    path = fetch("mnist")[0]
    path.write_bytes(b"damaged")
    assert len(load("mnist").train) == 30
    assert path.read_bytes() == CONTENT[FIRST]
    assert len(server.requests) == 5


@pytest.mark.parametrize("flat", [False, True])
def test_local_folders_come_before_the_network(server, serve, tmp_path, monkeypatch, flat):
    serve("missing")
    folder = tmp_path / "mine" if flat else tmp_path / "mine" / "mnist"
    folder.mkdir(parents=True)
    for name, body in CONTENT.items():
        (folder / name).write_bytes(body)
    assert len(load("mnist", folder=tmp_path / "mine").train) == 30
    monkeypatch.setenv("MINIVAE_DATA", os.fspath(tmp_path / "mine"))
    assert len(load("mnist").train) == 30
    assert server.requests == []


def test_a_flat_folder_of_mnist_is_not_taken_for_fashion(serve, tmp_path):
    serve("good")
    for name, body in CONTENT.items():
        (tmp_path / name).write_bytes(body)
    where = {row.name: row.where for row in available(folder=tmp_path)}
    assert where["mnist"] == str(tmp_path)
    assert where["fashion_mnist"].startswith("to download")


def test_an_unwritable_cache_is_reported(server, serve, tmp_path):
    serve("good")
    (tmp_path / "cache").write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(DataError, match="could not download"):
        load("mnist")
