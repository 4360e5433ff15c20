"""The page: whole, harmless and in need of nothing, whatever the comparison holds."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.comparison.charts import levels, lines
from stream_infer.comparison.labels import Labels
from stream_infer.comparison.ledger import Ledger, Windows
from stream_infer.comparison.offline import compared
from stream_infer.comparison.pairs import Pairs
from stream_infer.comparison.report import render
from stream_infer.comparison.segments import Segments
from stream_infer.comparison.verdict import Criteria
from stream_infer.models.vus import auc_pr, vus_pr
from tests.unit.comparison.pair_data import VERSIONS, made


def content(pairs: list[Pairs], **criteria: object) -> dict:
    ledger = Ledger(Windows(block_s=60), Segments({"odd": ("machine-[135]",)}, 4))
    return compared(pairs, ledger, Criteria(minimum_events=100, **criteria), Labels(), "a topic")


class Checked(HTMLParser):
    """Fails on a tag that is closed in the wrong place, and collects what a browser would fetch."""

    VOID = frozenset({"meta", "br", "path", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.fetched += [value for name, value in attrs if name in {"src", "xlink:href", "data", "srcset"}]
        self.fetched += [
            value for name, value in attrs if name == "href" and not (value or "").startswith("#")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"


def checked(page: str) -> Checked:
    parser = Checked()
    parser.feed(page)
    assert not parser.open
    assert not parser.fetched
    assert "script" not in parser.tags
    assert not re.search(r"url\(|@import|https?://", page)
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+|[a-z]+nan", "", page.lower())
    return parser


@pytest.mark.parametrize("count", [0, 1, 30, 4000])
@pytest.mark.parametrize("labelled", [True, False])
def test_the_page_is_whole_and_fetches_nothing(count, labelled):
    found = content([made(1, count, labels=labelled)] if count else [], labelled=labelled)

    page = render(found)

    checked(page)
    json.dumps(found, allow_nan=False)
    assert ("<h2>Labels</h2>" in page) == (labelled and count > 1)
    assert "Nothing compared yet" in page if not count else VERSIONS[0].shadow in page


def test_the_verdict_comes_first_with_its_reason():
    found = content([made(1, 6000)], min_agreement=0.99)

    page = render(found)

    text = re.sub("<style>.*?</style>", "", page, flags=re.DOTALL)
    assert found["comparisons"][0]["verdict"]["verdict"] == "keep"
    assert text.index("Keep the primary") < text.index("Agreement is below 99.00%") < text.index("<h2>")


@pytest.mark.parametrize(
    ("low", "high", "share", "expected"),
    [
        (0.51, 1.0, True, ["60%", "70%", "80%", "90%", "100%"]),
        (0.992, 1.0, True, ["99.2%", "99.4%", "99.6%", "99.8%", "100.0%"]),
        (-1.5, 2.7, False, ["-1", "0", "1", "2"]),
        (-1e-3, 1e-3, False, ["-0.0010", "-0.0005", "0.0000", "0.0005", "0.0010"]),
    ],
)
def test_levels_are_round_numbers(low, high, share, expected):
    found = levels(low, high, share=share)

    assert [text for _, text in found] == expected
    assert all(low - 1e-9 <= level <= high + 1e-9 for level, _ in found)


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_an_axis_has_some_levels_and_not_too_many(low, span):
    assert 2 <= len(levels(low, low + span, share=False)) <= 8


def test_a_share_goes_up_to_one_and_no_further():
    drawn = lines(
        ["2026-11-01T00:00:00+00:00", "2026-11-01T01:00:00+00:00"], [("all", [0.9, 1.0])], "agreement"
    )

    assert "100%" in drawn
    assert not re.search(r">1(0[1-9]|[1-9]\d)", drawn)


def test_names_in_the_data_are_text_and_nothing_else():
    pairs = made(1, 400)
    hostile = "<script>alert(1)</script>&\"'"
    pairs.entity = (hostile, *pairs.entity[1:])
    pairs.event_id[:] = hostile
    pairs.shadow_error[pairs.shadow_error != ""] = hostile
    pairs.names["s1"] = hostile

    checked(render(content([pairs])))


def test_quality_is_the_mean_over_entities_of_evaluates_measures():
    pairs = made(2, 3000)
    pairs.versions_code[:] = 0
    quality = content([pairs], labelled=True)["comparisons"][0]["quality"]

    found: dict[str, list[float]] = {"primary_vus_pr": [], "shadow_auc_pr": []}
    for code in range(len(pairs.entity)):
        rows = np.flatnonzero((pairs.entity_code == code) & pairs.both & (pairs.label >= 0))
        rows = rows[np.argsort(pairs.time_ms[rows], kind="stable")]
        label = pairs.label[rows]
        found["primary_vus_pr"].append(vus_pr(pairs.primary_score[rows] / 3.0, label))
        found["shadow_auc_pr"].append(auc_pr(pairs.shadow_score[rows] / 2.9, label))
    assert quality["entities"] == len(pairs.entity)
    for name, values in found.items():
        assert quality[name] == pytest.approx(np.mean(values))
