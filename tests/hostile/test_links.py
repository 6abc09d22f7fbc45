"""No link of a catalog opens a connection that was not allowed, however it is written and wherever it is redirected."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.errors import BadData
from pipelines.scenes.catalog import read_scenes
from pipelines.scenes.links import Links
from pipelines.scenes.quarantine import records
from tests.hostile.links import LINKS
from tests.hostile.scenes import good_item
from tests.scenes.servers import file_server
from tests.scenes.sources import item, write_catalog, write_scene_files
from tests.scenes.test_ingest import Project


@contextmanager
def listener() -> Iterator[tuple[int, list[str]]]:
    """A port of this machine, and who came to it."""
    came: list[str] = []
    with socket.create_server(("0.0.0.0", 0)) as server:

        def take() -> None:
            while True:
                try:
                    guest, address = server.accept()
                except OSError:
                    return
                came.append(f"{address}: {guest.recv(200)!r}")
                guest.close()

        threading.Thread(target=take, daemon=True).start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)


def test_no_link_reaches_what_was_not_allowed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    files = write_scene_files(source / "files", offset=-1000)
    with listener() as (port, came), file_server(source) as (base, _):
        here = {band: f"{base}/files/{band}.tif" for band in files}
        links = {name: href.format(port=port, base=base) for name, href in LINKS.items()}
        documents = [item(f"s{n}", here | {"B03": href}) for n, href in enumerate(links.values())]
        catalog = write_catalog(source, [item("good", here), *documents])
        content = json.loads(catalog.read_text())
        content["links"] += [
            {"rel": "item", "href": f"http://127.0.0.1:{port}/item.json"},
            {"rel": "child", "href": f"{base}/to?http://localhost:{port}/catalog.json"},
            {"rel": "item", "href": "file:///etc/passwd"},
        ]
        catalog.write_text(json.dumps(content))
        project = Project(tmp_path / "project", source)
        project.source_is(f"{base}/catalog.json")
        found = project.swath("search", "--run", "r")
        for shard in range(found["shards"]):
            project.swath("fetch", "--run", "r", "--shard", str(shard))
        project.swath("publish", "--run", "r")
        assert came == []
    assert [scene.id for scene in read_scenes(project.catalog)] == ["good"]
    reasons = {record.source: record.reason for record in records(project.catalog)}
    for number, name in enumerate(links, 1):
        reason = reasons.pop(f"{base}/item{number}.json")
        assert "SWATH_LINKS" in reason or "correct" in reason.lower() or "again at the source" in reason, (name, reason)
        if "redirected to" not in name:
            assert "public address" in reason or "http(s)" in reason or "of a bucket" in reason, (name, reason)
    assert len(reasons) == 3 and all("public address" in r or "http(s)" in r for r in reasons.values()), reasons


def test_what_is_named_in_swath_links_may_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    files = write_scene_files(tmp_path / "elsewhere", offset=-1000)
    write_catalog(source, [item("outside", files), good_item(source / "inside", "inside")])
    project = Project(tmp_path / "project", source)
    assert project.swath("search", "--run", "r")["new"] == 1
    monkeypatch.setenv("SWATH_LINKS", f"minio.example:9000 {tmp_path / 'elsewhere'}")
    assert project.swath("search", "--run", "r")["new"] == 2
    with file_server(tmp_path) as (base, _):
        remote = {band: f"{base}/elsewhere/{band}.tif" for band in files}
        write_catalog(source, [item("outside", remote)])
        monkeypatch.setenv("SWATH_LINKS", base.removeprefix("http://"))
        project.swath("search", "--run", "s")
        assert project.swath("fetch", "--run", "s", "--shard", "0") == {"fetched": 1, "quarantined": 0}


def test_what_the_environments_proxy_is_not_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8,169.254.169.254,.svc")
    inner = ("http://10.0.0.5/B03.tif", "http://169.254.169.254/B03.tif", "https://store.svc/B03.tif")
    links = Links.of("https://catalog.example/catalog.json")
    assert [links.checked(href) for href in inner] == list(inner), "our own proxy will look at them"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    for href in inner:
        with pytest.raises(BadData, match=r"(NO_PROXY names|no proxy for http) .* SWATH_LINKS"):
            links.checked(href)
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    for href in inner:
        with pytest.raises(BadData, match=r"NO_PROXY names .* SWATH_LINKS"):
            links.checked(href)
    assert links.checked("https://tiles.example/B03.tif")
    monkeypatch.setenv("SWATH_LINKS", "*.svc")
    assert Links.of("https://catalog.example/catalog.json").checked(inner[2]) == inner[2]
