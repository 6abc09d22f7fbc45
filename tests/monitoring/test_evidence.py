"""The claim in small: costly changes of unseen scenes are declared as drift, unchanged ones are not."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from benchmarks.drift import HISTORY, LATER, PARAMS
from benchmarks.drifting.changes import KINDS
from benchmarks.drifting.region import Region
from benchmarks.drifting.trials import ELSEWHERE, USUAL, declared, streams, try_changes, try_usual
from benchmarks.drifting.watch import Split, Watch

SIZE = 192
SEED = 5  # of no region that anything was tuned on
STRENGTHS = {
    "gain": 0.4,
    "offset": 1.0,
    "band swap": 0.25,
    "haze": 0.2,
    "noise": 0.01,
    "blur": 1.0,
    "resolution": 2.0,
    "misregistration": 1.0,
}


@pytest.mark.slow
def test_changes_are_declared_and_nothing_is_not(tmp_path):
    region = Region(SEED, SIZE, HISTORY, LATER)
    watch = Watch(tmp_path, region.before(), Split.of((SIZE, SIZE), SIZE // 4, SEED), None, PARAMS)
    later = region.after()
    usual = try_usual("sample", USUAL, later, watch, None)
    elsewhere = try_usual("sample", ELSEWHERE, region.elsewhere(), watch, None)
    for told, least in ((declared(usual), 12), (usual.odd, 12), (declared(elsewhere), 6), (elsewhere.odd, 12)):
        assert len(told) >= least
        assert sum(told) <= binom.ppf(0.99, len(told), PARAMS.false_alarms), "more than chance gives at that rate"

    kinds = [kind.at(STRENGTHS[kind.name]) for kind in KINDS if kind.name in STRENGTHS]
    assert len(kinds) == len(STRENGTHS)
    changed = try_changes("sample", streams(later, PARAMS)[::6], watch, None, None, kinds)
    found = {one.kind: declared(one) for one in changed}
    assert {kind for kind, hits in found.items() if not all(hits)} == set()
