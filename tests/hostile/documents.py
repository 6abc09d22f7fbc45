"""Documents of a STAC catalog that cannot be read, or that never end."""

from __future__ import annotations

import json
from pathlib import Path

from tests.hostile.cases import Corpus

DOCUMENTS = Corpus()


@DOCUMENTS.refused("is not valid STAC")
def text_that_is_no_json(folder: Path) -> Path:
    return _written(folder / "text_that_is_no_json.json", "<html>503 Service Unavailable</html>")


@DOCUMENTS.refused("is not valid STAC")
def bytes_that_are_no_text(folder: Path) -> Path:
    file = folder / "bytes_that_are_no_text.json"
    file.write_bytes(b"\xff\xfe\x00{")
    return file


@DOCUMENTS.refused("is not valid STAC")
def json_as_deep_as_the_sea(folder: Path) -> Path:
    return _written(folder / "json_as_deep_as_the_sea.json", "[" * 100_000 + "]" * 100_000)


@DOCUMENTS.refused("is not valid STAC")
def json_of_another_kind(folder: Path) -> Path:
    return _written(folder / "json_of_another_kind.json", json.dumps({"type": "FeatureCollection", "features": []}))


@DOCUMENTS.refused("is not valid STAC")
def number_of_ten_thousand_digits(folder: Path) -> Path:
    return _written(
        folder / "number_of_ten_thousand_digits.json", '{"type": "Feature", "stac_version": ' + "9" * 10_000 + "}"
    )


@DOCUMENTS.refused("is not a file")
def item_that_is_gone(folder: Path) -> Path:
    return folder / "item_that_is_gone.json"


@DOCUMENTS.refused("is not a file")
def item_of_endless_zeros(folder: Path) -> Path:
    return Path("/dev/zero")


@DOCUMENTS.refused("outside of the catalog's own folder")
def item_outside_of_the_catalog(folder: Path) -> Path:
    return Path("/etc/passwd")


@DOCUMENTS.refused("lies 32 catalogs deep")
def catalogs_without_end(folder: Path) -> Path:
    for depth in range(40):
        links = [{"rel": "child", "href": f"./deep{depth + 1}.json"}]
        _catalog(folder / f"deep{depth}.json", f"deep{depth}", links)
    _catalog(folder / "deep40.json", "deep40", [])
    return folder / "deep0.json"


@DOCUMENTS.taken
def catalog_that_leads_to_itself(folder: Path) -> Path:
    file = folder / "catalog_that_leads_to_itself.json"
    _catalog(file, "itself", [{"rel": "child", "href": f"./{file.name}"}, {"rel": "child", "href": "./catalog.json"}])
    return file


def _catalog(file: Path, id: str, links: list[dict[str, str]]) -> None:
    document = {"type": "Catalog", "id": id, "stac_version": "1.0.0", "description": id, "links": links}
    file.write_text(json.dumps(document))


def _written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file
