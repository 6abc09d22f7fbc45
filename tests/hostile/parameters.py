"""Texts in place of a ``params.yaml``, or of a part of one that is laid over the repository's own."""

from __future__ import annotations

from tests.hostile.cases import Corpus

FILES = Corpus()  # the whole file
OVERLAYS = Corpus()  # a part of it


def _add(corpus: Corpus, name: str, text: str | bytes, expects: str) -> None:
    def write() -> bytes:
        return text if isinstance(text, bytes) else text.encode()

    write.__name__ = name
    corpus.refused(expects)(write)


_LAUGHS = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))

_add(FILES, "nothing", "", "must hold a mapping")
_add(FILES, "a_list", "[1, 2]", "must hold a mapping")
_add(FILES, "a_number", "7", "must hold a mapping")
_add(FILES, "an_open_bracket", "a: [1", "not valid YAML")
_add(FILES, "references_that_explode", f"a0: &a0 ha\n{_LAUGHS}", "references .* are not taken")
_add(FILES, "a_mapping_in_itself", "a: &a\n  b: *a\n", "references .* are not taken")
_add(FILES, "python_that_runs", "a: !!python/object/apply:os.system [touch opened]", "not valid YAML")
_add(FILES, "python_by_name", "a: !!python/name:os.system", "not valid YAML")
_add(FILES, "a_tag_of_nobody", "a: !include /etc/passwd", "not valid YAML")
_add(FILES, "depth_without_end", "[" * 50_000, "not valid YAML")
_add(FILES, "a_key_twice", "project: a\nproject: b\n", "project is there twice")
_add(FILES, "a_list_as_a_key", "? [a]\n: b\n", "not valid YAML")
_add(FILES, "a_thirteenth_month", "a: 2024-13-45\n", "not valid YAML")
_add(FILES, "a_number_of_ten_thousand_digits", "a: " + "9" * 10_000, "not valid YAML")
_add(FILES, "bytes_that_are_no_text", b"\xff\xfe\x00a", "not valid YAML")
_add(FILES, "nul", b"a: \x00", "not valid YAML")
_add(FILES, "two_documents", "a: 1\n---\na: 2\n", "not valid YAML")

_add(OVERLAYS, "a_project_that_climbs", "project: ../../etc", "project: ")
_add(OVERLAYS, "a_project_with_a_line_break", 'project: "sample\\n"', "project: ")
_add(OVERLAYS, "a_list_for_a_section", "train: [1, 2]", "train: ")
_add(OVERLAYS, "a_key_of_nobody", "train: {learning_rate: 1}", "learning_rate")
_add(OVERLAYS, "a_number_as_a_key", "train: {7: 1}", "train")
_add(OVERLAYS, "infinity", "train: {lr: .inf}", r"train\.lr: .*finite")
_add(OVERLAYS, "no_number", "gate: {min_gain: .nan}", r"gate\.min_gain: .*finite")
_add(OVERLAYS, "a_huge_number", "chips: {size: 1" + "0" * 30 + "1}", r"chips\.size")
_add(OVERLAYS, "yes_for_a_number", "train: {epochs: yes please}", r"train\.epochs")
_add(OVERLAYS, "a_day_that_is_none", "scenes: {dates: [2024-02-30x, 2024-03-01]}", r"scenes\.dates")
_add(OVERLAYS, "half_an_area", "scenes: {area: [1, 2, 3]}", r"scenes\.area")
_add(OVERLAYS, "an_area_of_no_numbers", "scenes: {area: [.nan, .nan, .nan, .nan]}", r"scenes\.area")
_add(OVERLAYS, "a_variable_that_is_not_set", "scenes: {source: $NOBODY_SET_THIS/x}", "NOBODY_SET_THIS.*not set")
_add(OVERLAYS, "one_band_for_two", "scenes: {bands: [a, a], assets: []}", "must differ")
_add(OVERLAYS, "a_colour_in_words", "labels: {classes: [{name: a, value: 1, color: red}]}", "color")
