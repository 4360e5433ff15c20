"""The tables of docs/shadow.md are what the example prints."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_tables_of_the_page_are_those_of_the_example():
    example = ROOT / "docs" / "examples" / "verdict_power.py"
    said = subprocess.run(
        [sys.executable, example], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout

    assert said.strip() in (ROOT / "docs" / "shadow.md").read_text("utf-8")
