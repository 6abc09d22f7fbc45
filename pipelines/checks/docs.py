"""Great Expectations' Data Docs as pages that need no network and run no script."""

from __future__ import annotations

import re
from datetime import datetime
from html import escape
from pathlib import Path

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LOADED = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
# Scripts, styles and pictures come from seven other hosts, some at whatever version is newest that day.
_FOREIGN = re.compile(r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>", re.DOTALL | re.IGNORECASE)
_STYLE = """<style>
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 0 1rem 2rem; }
nav.navbar { height: auto !important; }
ul, ol { padding-left: 1rem; } li { list-style: none; } i { font-style: normal; }
table { border-collapse: collapse; width: 100%; }
td, th { padding: .3rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid #8884; }
.failed-row, .text-danger { color: #c62828; } .text-success { color: #1a7f37; }
i.text-success::before { content: "\\2713"; } i.text-danger::before { content: "\\2717"; }
.sticky > .card:first-child, .tooltip, .cooltip > span, footer, .footer { display: none !important; }
</style>"""
_INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Data Docs: {name}</title>{style}</head><body>
<h1>Data Docs: {name}</h1>
<p>{told} Made by <a href="https://greatexpectations.io">Great Expectations</a>.</p>
<ul>{links}</ul>
</body></html>
"""


def settle(site: Path, name: str, when: datetime, held: int, asked: int) -> None:
    """Make the pages of ``site`` whole without a network, and equal where input is.

    Their random ids are numbered, ``when`` takes the place of the clock, and the start page, whose tables only scripts
    could fill, becomes a list. ``held`` of ``asked`` expectations were met.
    """
    for page in sorted(site.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        for number, found in enumerate(dict.fromkeys(_UUID.findall(text))):
            text = text.replace(found, f"id-{number}")
        text = _LOADED.sub(when.strftime("%Y%m%dT%H%M%S.%fZ"), _FOREIGN.sub("", text))
        page.write_text(text.replace("</head>", f"{_STYLE}</head>", 1), encoding="utf-8")
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html") if path.name != "index.html")
    kinds = {"validations": "What was found", "expectations": "What is expected"}
    links = [f'<li><a href="{escape(p)}">{kinds.get(p.split("/")[0], p)}</a></li>' for p in reversed(pages)]
    told = f"{held} of {asked} expectations hold, {when:%Y-%m-%d %H:%M} UTC."
    index = _INDEX.format(name=escape(name), style=_STYLE, told=told, links="".join(links))
    (site / "index.html").write_text(index, encoding="utf-8")
