"""Imports point one way: cli -> build -> worker -> stages -> records, errors; adapters do not know each other."""

import ast
from pathlib import Path

import pytest

import stream_infer

ROOT = Path(stream_infer.__file__).parent
MODULES = {
    path.relative_to(ROOT.parent).with_suffix("").as_posix().replace("/", "."): path
    for path in ROOT.rglob("*.py")
}

ADAPTERS = ("avro", "windows", "models", "delivery", "control", "embedded")
BASE = {
    "cache",
    "confine",
    "errors",
    "pairs",
    "priority",
    "scratch",
    "records",
    "header_arrays",
    "log",
    "data",
    "kernel",
    "intrinsics",
    "part_compiler",
    "stopwatch",
}
KNOWS_CONFIG = {"build", "checks", "cli", "docs", "config", "demo"}
KNOWS_ADAPTERS = {
    "assignment": set(),
    "pace": set(),
    "records": set(),
    "header_arrays": set(),
    "errors": set(),
    "log": set(),
    "kernel": set(),
    "intrinsics": set(),
    "part_compiler": set(),
    "stopwatch": set(),
    "avro": set(),
    "windows": set(),
    "config": set(),
    "delivery": set(),
    "embedded": set(),
    "models": {"windows", "scorer"},  # calibration runs through the stages themselves
    "scorer": {"windows"},
    "publish": {"delivery"},
    "checkpoint": {"delivery", "pace"},
    "quarantine": {"stages"},
    "restore": {"delivery", "assignment", "quarantine"},
    "partitions": {"delivery", "assignment", "quarantine", "checkpoint", "restore"},
    "stages": {"checkpoint"},
    "worker": {"delivery", "pace", "partitions", "quarantine", "stages"},
    "model_registry": {"models"},  # what it fetches it verifies
    "probe": {"models"},
    "swap": {"avro", "model_registry", "models", "probe", "scorer", "stages", "windows"},
    "control": set(),
    "observation": {"control", "delivery", "assignment"},
    "shadow": {"delivery", "rejects", "assignment", "restore", "observation", "control"},
    "watchdog": set(),
}
"""Area -> what it may import of this package, beside the base and itself. Areas not named here are the outer ones."""


def area(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("stream_infer"):
            found.add(node.module)
            if node.module == "stream_infer":
                found |= {f"stream_infer.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.startswith("stream_infer")}
    return found


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_inwards(module: str) -> None:
    own = area(module)
    allowed = KNOWS_ADAPTERS.get(own)
    wanted = {area(name) for name in imported(MODULES[module])} - {own, "__init__"} - BASE

    if allowed is not None:
        assert wanted <= allowed, f"{module} imports {wanted - allowed}"
    assert "config" not in wanted or own in KNOWS_CONFIG, f"{module} knows the configuration"
    assert "cli" not in wanted, f"{module} imports a command"


@pytest.mark.parametrize("module", sorted(name for name in MODULES if not name.endswith("__main__")))
def test_public_names_are_declared_and_exist(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    declared = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and "__all__" in _targets(node)
        and node.value is not None
    ]
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    defined = {node.name for node in tree.body if isinstance(node, kinds)}
    defined |= {name for node in tree.body for name in _targets(node)}
    defined |= {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    if not defined - {"annotations"}:
        return

    assert len(declared) == 1, f"{module} declares no __all__"
    assert declared[0] == sorted(declared[0], key=_order)
    assert set(declared[0]) <= defined


def _order(name: str) -> tuple[int, str]:
    """Ruff's order: CONSTANTS, Classes, functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def _targets(node: ast.stmt) -> set[str]:
    targets = (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AnnAssign)
        else []
    )
    return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
