"""Whatever comes in, a parser answers with a value that holds its promises, or with a sentence."""

from __future__ import annotations

import string
import tempfile
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.atlas.places import below, project_in
from pipelines.config import Params, load_params
from pipelines.errors import BadData, SwathError
from pipelines.labels.boxes import BoxTable
from pipelines.labels.table import TableLabels
from pipelines.scenes import quarantine
from pipelines.scenes.area import parse, parts
from pipelines.scenes.candidate import public, safe_id
from pipelines.scenes.dates import Dates
from pipelines.scenes.links import Links
from pipelines.scenes.search import search
from pipelines.scenes.staging import folder
from plugins.revision import asked_revision
from tests.dataset.town import params as town_params
from tests.scenes.sources import item, params, write_catalog

often = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
seldom = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

words = st.text(max_size=30) | st.sampled_from(["..", "../x", "/etc", "a\0b", "\ud800", "a/b", "good", "A" * 300])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | words
documents = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3))
PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())


@often
@given(words)
def test_names_become_paths_below_their_folder_or_nothing(name: str) -> None:
    root = Path("/srv/swath")
    for make in (
        lambda: root / "scenes" / safe_id(name),
        lambda: folder(root, name),
        lambda: below(root, name),
        lambda: project_in(root, name),
    ):
        try:
            made = make()
        except BadData:
            continue
        assert made.resolve().is_relative_to(root) and "\0" not in str(made)


@often
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_id_has_a_place_in_quarantine(id: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        quarantine.put(Path(scratch), id=id, source="s", stage="search", reason="r", fingerprint="f")
        assert [record.id for record in quarantine.records(Path(scratch))] == [id]
        quarantine.lift(Path(scratch), id)
        assert not quarantine.records(Path(scratch))


@often
@given(st.text(max_size=40) | st.lists(st.floats(), min_size=4, max_size=4).map(lambda four: ",".join(map(str, four))))
def test_an_area_is_on_earth_or_refused(text: str) -> None:
    try:
        area = parse(text)
    except BadData:
        return
    for west, south, east, north in parts(area):
        assert -180 <= west <= east <= 180 and -90 <= south < north <= 90


@often
@given(
    st.text("0123456789-:TZ+. ", min_size=1, max_size=30)
    | st.datetimes(timezones=st.timezones()).map(lambda d: d.isoformat())
)
def test_a_moment_is_one_in_utc_or_refused(text: str) -> None:
    try:
        dates = Dates.of(None, since=text)
    except BadData as error:
        assert repr(text[:100]) in str(error)
        return
    assert dates.first is not None and dates.first.tzinfo is UTC
    assert dates.hold(dates.first) and dates.interval()


@often
@given(
    st.text(string.ascii_letters, min_size=12), st.sampled_from(["example.org", "[::1]", "[::1", "10.0.0.1:80"]), words
)
def test_a_public_address_has_no_secret(secret: str, host: str, path: str) -> None:
    href = f"https://user:{secret}@{host}/{path}?sig={secret}"
    assert secret not in public(href) or secret in path
    assert secret not in str(SwathError(f"{href} cannot be read")) or secret in path


@often
@given(st.text(max_size=80), st.sampled_from(["https://example.org/catalog.json", __file__]))
def test_a_link_leads_to_an_address_or_to_a_file_of_the_catalog(href: str, source: str) -> None:
    try:
        checked = Links.of(source).checked(href)
    except BadData as error:
        assert repr(href[:200]) in str(error)
        return
    assert checked.casefold().startswith(("http:", "https:", "s3:", str(Path(__file__).parent).casefold()))


@seldom
@given(st.sampled_from(sorted(PARAMS)), documents)
def test_parameters_are_whole_or_refused(section: str, value: Any) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "params.yaml"
        file.write_text(yaml.safe_dump(PARAMS | {section: value}), encoding="utf-8", errors="backslashreplace")
        try:
            assert isinstance(load_params(file), Params)
        except BadData as error:
            assert str(file) in str(error)


@seldom
@given(st.sampled_from(["id", "type", "geometry", "properties", "assets", "links", "bbox", "collection"]), documents)
def test_an_item_is_a_candidate_or_refused_and_its_neighbour_is_found(field: str, value: Any) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for band in ("B02", "B03", "B11", "SCL"):
            (place / f"{band}.tif").touch()
        good = item("good", {band: place / f"{band}.tif" for band in ("B02", "B03", "B11", "SCL")})
        catalog = write_catalog(place, [good, good | {"id": "other", field: value}])
        found, refused = search(params(catalog), None, Dates(None, None))
        assert "good" in [one.id for one in found]
        assert len(found) + len(refused) <= 2 and all(one.reason for one in refused)


@seldom
@given(
    st.sampled_from(["scene,class", "scene,xmin,ymin,xmax,ymax,class"]),
    st.binary(max_size=80) | st.text().map(str.encode),
)
def test_a_table_of_labels_is_read_or_refused(columns: str, rest: bytes) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "labels.csv"
        file.write_bytes(columns.encode() + b"\n" + rest)
        labels = town_params(file, labels={"background": "water"}).labels
        try:
            made = TableLabels(file, labels) if columns == "scene,class" else BoxTable([file], labels)
        except BadData as error:
            assert "labels.csv" in str(error)
            return
        if isinstance(made, BoxTable):
            corners = [one for boxes in made._boxes.values() for one, _ in boxes]
            assert np.isfinite(np.array(corners, float)).all()


@often
@given(documents, st.booleans())
def test_an_event_gives_a_revision_or_none(extra: Any, from_trigger: bool) -> None:
    told = {"from_trigger": from_trigger, "payload": extra} if from_trigger else extra
    event = SimpleNamespace(timestamp=0, extra=told if isinstance(told, dict) else {"payload": told})
    assert isinstance(asked_revision({"params": {}, "triggering_asset_events": {"git_push": [event]}}), str)


def test_a_sentence_is_what_the_parsers_raise() -> None:
    assert issubclass(BadData, SwathError)
    with pytest.raises(BadData):
        parse("all of it")
