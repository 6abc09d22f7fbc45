"""Findings name the row, the value and the rule; Data Docs hold the results and repeat byte for byte."""

from __future__ import annotations

import re
from pathlib import Path

import great_expectations as gx
import pandas as pd

from pipelines.checks.runner import Finding, run
from pipelines.files import sha256

TABLE = pd.DataFrame({"share": [0.1, 0.99, None], "kind": ["a", "b", "c"]}, index=pd.Index(["x", "y", "z"], name="id"))
RULE = gx.expectations.ExpectColumnValuesToBeBetween(column="share", max_value=0.5, description="at most half")


def test_a_finding_says_row_value_and_rule() -> None:
    assert run("shares", TABLE, [RULE], None) == [Finding("y", "share", "share is 0.99; at most half.")]


def test_findings_come_in_the_order_of_the_expectations() -> None:
    e = gx.expectations
    missing = e.ExpectColumnValuesToBeUnique(column="nowhere", description="a column that is missing")
    rows = e.ExpectTableRowCountToBeBetween(min_value=5, description="at least five rows")
    null = e.ExpectColumnValuesToNotBeNull(column="share")
    found = run("shares", TABLE, [missing, RULE, rows, null], None)
    assert [(f.row, f.column) for f in found] == [(None, "nowhere"), ("y", "share"), (None, None), ("z", "share")]
    assert found[2].sentence == "the table gives 3; at least five rows."


def test_what_holds_gives_no_finding(tmp_path: Path) -> None:
    assert run("shares", TABLE.head(1), [RULE], tmp_path / "docs") == []


def test_data_docs_hold_the_results_and_repeat(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "stale.html").write_text("from before")
    for name in "ab":
        run("shares", TABLE, [RULE], tmp_path / name)
    trees = [
        {p.relative_to(root): sha256(p) for p in root.rglob("*") if p.is_file()}
        for root in (tmp_path / "a", tmp_path / "b")
    ]
    assert trees[0] == trees[1] and Path("index.html") in trees[0]
    (page,) = (tmp_path / "a" / "validations").rglob("*.html")
    assert "at most half" in page.read_text() and "0.99" in page.read_text()


def test_data_docs_need_no_network_and_run_no_script(tmp_path: Path) -> None:
    run("shares", TABLE, [RULE], tmp_path / "docs")
    index, *others = sorted((tmp_path / "docs").rglob("*.html"), key=lambda path: len(path.parts))
    assert "0 of 1 expectations hold" in index.read_text()
    for page in (index, *others):
        text = page.read_text()
        assert "<script" not in text and not re.search(r"""(src|<link[^>]*href)=["']?https?:""", text), page
        for href in re.findall(r'href="([^"#?]+\.html)"', text):
            assert (page.parent / href).is_file(), (page, href)
