"""The comparison of the scoring stage with the bare model runs, here on a CPU."""

from load.autoencoder import autoencoder
from load.gpu_bench import Timed, compare, summary
from load.traffic import Traffic


def test_all_are_timed_and_agree(tmp_path):
    autoencoder(Traffic(width=8)).save(tmp_path / "model")

    small, large = compare(tmp_path / "model", "cpu", (1, 512), seconds=0.1)

    assert (small.batch, large.batch) == (1, 512)
    assert large.bare_per_s > small.bare_per_s
    assert large.stage_per_s > small.stage_per_s
    assert large.other_per_s > small.other_per_s


def test_the_summary_compares_best_with_best():
    timed = [
        Timed(64, 100.0, 80.0, 80.0, 1.0, 1.5),
        Timed(256, 400.0, 300.0, 300.0, 2.0, 2.25),
        Timed(512, 300.0, 380.0, 380.0, 3.0, 3.0),
    ]

    text = summary(timed)
    assert "95% of it" in text
    assert "adds 0.25 ms at p99 to a batch of 256" in text
