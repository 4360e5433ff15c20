"""The generated pages say what the code says."""

import itertools
import re
from pathlib import Path

import click
import pytest

from load.__main__ import main as load_main
from stream_infer import cli, docs
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


PROSE = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "stream_infer").rglob("*.md")])


@pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in _anchors(path), target


@pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_text_exist(page):
    for words in re.findall(r"`(?:stream-infer|python -m load|make) [^`]+`", page.read_text("utf-8")):
        program, *rest = words.strip("`").removeprefix("python -m ").split()
        if program == "make":
            assert rest[0] in TARGETS, words
            continue
        command = {"stream-infer": cli.main, "load": load_main}[program]
        for name in itertools.takewhile(lambda word: re.fullmatch(r"[a-z][a-z-]*", word), rest):
            if not isinstance(command, click.Group):
                break
            command = command.get_command(click.Context(command), name)
            assert command is not None, words


TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def _prose(page: Path) -> str:
    """Without code, in which brackets mean something else."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}
