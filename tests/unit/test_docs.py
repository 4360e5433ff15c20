"""The generated pages say what the code says."""

from pathlib import Path

import pytest

from stream_infer import docs
from stream_infer.config import reference
from stream_infer.control import METRICS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", docs.PAGES)
def test_page_is_current(name):
    current = (ROOT / name).read_text(encoding="utf-8")
    assert current == docs.PAGES[name](), "run `python -m stream_infer.docs`"


def test_every_setting_is_described():
    page = docs.config_page()
    for section, text in reference.sections():
        assert text.endswith("."), section
        for setting in reference.settings(section):
            assert setting.text, f"{section}.{setting.name} has no description"
            assert setting.kind, f"{section}.{setting.name} does not say what may be written"
            assert f"| `{setting.name}` |" in page


def test_every_metric_is_described_and_names_its_unit():
    for metric in METRICS:
        assert metric.text.endswith(".") or metric.name.endswith("_info")
        assert f"| `{metric.name}` |" in docs.metrics_page()
        assert metric.kind != "counter" or metric.name.endswith("_total")
