"""The window autoencoder, trained for real. In the ordinary environment: skipped; `make test-torch` runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

torch = pytest.importorskip(
    "torch", reason="torch is not in this environment: make test-torch makes one that has it"
)

from stream_infer.cli import main  # noqa: E402
from stream_infer.errors import ConfigError  # noqa: E402
from stream_infer.models import OnnxModel  # noqa: E402
from stream_infer.models.families import Fitting, autoencoder_training, available  # noqa: E402
from stream_infer.models.families.autoencoder import Autoencoder, fit_autoencoder  # noqa: E402
from stream_infer.models.families.autoencoder_training import train_autoencoder  # noqa: E402
from stream_infer.models.families.sampling import windows_of  # noqa: E402
from stream_infer.models.graph import build_graph  # noqa: E402
from stream_infer.windows.layout import Layout  # noqa: E402

pytestmark = pytest.mark.timeout(900)


def series(count: int = 2, rows: int = 600) -> list[np.ndarray]:
    """Features that swing together, each entity at its own pace, with a little noise."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        swing = np.sin(np.arange(rows) / (5 + number))[:, None] * [1.0, -1.0, 0.5]
        made.append((swing + 0.05 * rng.normal(size=(rows, 3))).astype(np.float32))
    return made


@pytest.fixture(autouse=True, scope="module")
def few_steps() -> Iterator[None]:
    """What is tested here needs no more; how good a fully trained one is, `stream-infer evaluate` says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoencoder_training, "STEPS_MAX", 600)
        patch.setattr(autoencoder_training, "CHECK_STEPS", 50)
        yield


@pytest.fixture(scope="module")
def part() -> Autoencoder:
    fitted = fit_autoencoder(series(), Fitting())
    assert isinstance(fitted, Autoencoder)
    return fitted


def test_what_was_learnt_comes_back_and_what_breaks_loose_does_not(part: Autoencoder) -> None:
    rows = series()[0]
    broken = rows.copy()
    broken[300:310, 1] += 2.0
    at = np.arange(305, 310)

    usual, strange = (part.errors(windows_of(values, part.rows, at)) for values in (rows, broken))

    assert usual.mean() < 0.3 * np.abs(rows).mean()
    assert (strange[:, 1] > 2 * usual[:, 1]).all()
    assert (strange.argmax(axis=1) == 1).all()


def test_the_graph_equals_torch(part: Autoencoder) -> None:
    layers = []
    for weights, bias in part.network.layers:
        layer = torch.nn.Linear(*weights.shape)
        layer.weight.data, layer.bias.data = torch.from_numpy(weights.T.copy()), torch.from_numpy(bias)
        layers.append(layer)
    relu = torch.nn.ReLU()
    network = torch.nn.Sequential(layers[0], relu, layers[1], layers[2], relu, layers[3])
    windows = np.random.default_rng(1).normal(size=(257, part.rows, 3)).astype(np.float32)
    model = OnnxModel.open(
        build_graph(part.rows, 3, (part,)), ("made", "1"), Layout(part.rows, 3, 1, (1.0,), (1e3,))
    )

    with torch.no_grad():
        flat = torch.from_numpy(windows.reshape(257, -1))
        left = (flat - network(flat)).reshape(257, part.rows, 3)
        expected = left.square().mean(dim=1).sqrt().numpy()

    np.testing.assert_allclose(model.score(windows)[:, 0], expected, atol=1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (fit_autoencoder(series(), Fitting(seed=seed)) for seed in (3, 3, 4))

    for (a, _), (b, _), (c, _) in zip(*(part.network.layers for part in (first, again, other)), strict=True):  # type: ignore[attr-defined]
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


def test_training_stops_when_what_is_held_out_gains_nothing() -> None:
    """Held out is noise that nothing can be learnt of: three checks, then the end; progress says all is done."""
    rng = np.random.default_rng(0)
    learnt, held_out = (rng.normal(size=(400, 40)).astype(np.float32) for _ in range(2))
    done: list[float] = []

    train_autoencoder(learnt, held_out, Fitting(progress=done.append))

    assert done[-1] == 1.0
    assert len(done) < 12


def test_a_device_that_is_not_there_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ConfigError, match=r"--device cuda: torch .* finds no CUDA device"):
        fit_autoencoder(series(), Fitting(device="cuda"))


def test_train_then_score_by_command(tmp_path: Path) -> None:
    """The artifact is an ordinary one: what scores it has no use for torch."""
    assert "autoencoder" in available()
    rows = np.concatenate(series(rows=400))
    broken = rows.copy()
    broken[350:370, 1] += 2.0
    columns = {"host": ["a"] * 400 + ["b"] * 400, "split": (["train"] * 300 + ["test"] * 100) * 2}
    columns |= {name: broken[:, column] for column, name in enumerate("xyz")}
    data, model, out = tmp_path / "rows.parquet", tmp_path / "model", tmp_path / "scores.parquet"
    pq.write_table(pa.table(columns), data)

    trained = CliRunner().invoke(
        main, ["train", "--data", str(data), "--out", str(model), "--family", "autoencoder"]
    )
    scored = CliRunner().invoke(
        main, ["score", "--data", str(data), "--model", str(model), "--split", "test", "--out", str(out)]
    )

    assert trained.exit_code == scored.exit_code == 0, trained.output + scored.output
    assert "autoencoder, window 20, terms autoencoder" in trained.output
    scores = pq.read_table(out)
    peak = int(np.argmax(scores["score"].to_numpy()[:100]))
    assert 50 <= peak < 75
    assert scores["top"][peak].as_py()[0] == "y"
