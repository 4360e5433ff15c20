"""The measures equal references that are slow and plain."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.models.vus import auc_pr, events, vus_pr


def reference_auc_pr(score: np.ndarray, label: np.ndarray) -> float:
    total, last_recall = 0.0, 0.0
    for level in sorted(set(score.tolist()), reverse=True):
        predicted = score >= level
        hits = (predicted & (label > 0)).sum()
        recall = hits / (label > 0).sum()
        total += (recall - last_recall) * hits / predicted.sum()
        last_recall = recall
    return total


def reference_vus_pr(score: np.ndarray, label: np.ndarray, buffer: int, thresholds: int) -> float:
    """The definition, point by point: one loop for buffers, one for thresholds, one for rows."""
    count = len(score)
    ranked = sorted(score.tolist(), reverse=True)
    levels = [ranked[int(rank)] for rank in np.linspace(0, count - 1, thresholds)]
    starts, ends = events(label)
    areas = []
    for width in range(buffer + 1):
        half = width // 2
        weight = [float(value) for value in label]
        for start, end in zip(starts, ends, strict=True):
            for step in range(1, half + 1):
                ramp = (1 - step / width) ** 0.5
                for row in (start - step, end + step):
                    if 0 <= row < count:
                        weight[row] = min(1.0, weight[row] + ramp)
        merged: list[list[int]] = []
        for start, end in zip(starts, ends, strict=True):
            if merged and start - half <= merged[-1][1]:
                merged[-1][1] = end + half
            else:
                merged.append([max(start - half, 0), end + half])
        area, last_recall = 0.0, 0.0
        for level in levels:
            predicted = [value >= level for value in score]
            hits = sum(w for w, p in zip(weight, predicted, strict=True) if p)
            inside = sum(1 for value, p in zip(label, predicted, strict=True) if p and value > 0)
            positives = (2 * sum(label) + hits - inside) / 2
            touched = sum(any(predicted[a : b + 1]) for a, b in merged) / len(merged)
            recall = min(hits / positives, 1) * touched
            area += (recall - last_recall) * hits / sum(predicted)
            last_recall = recall
        areas.append(area)
    return float(np.mean(areas))


@pytest.fixture(params=range(4))
def series(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(request.param)
    label = np.zeros(160, np.int8)
    for start in generator.choice(150, 3, replace=False):
        label[start : start + generator.integers(1, 10)] = 1
    score = generator.random(160) + 0.3 * label
    return (score if request.param % 2 else score.round(1)), label


def test_auc_pr_equals_the_reference(series: tuple[np.ndarray, np.ndarray]) -> None:
    assert auc_pr(*series) == pytest.approx(reference_auc_pr(*series), abs=1e-12)


def test_vus_pr_equals_the_reference(series: tuple[np.ndarray, np.ndarray]) -> None:
    expected = reference_vus_pr(*series, buffer=12, thresholds=25)

    assert vus_pr(*series, buffer=12, thresholds=25) == pytest.approx(expected, abs=1e-12)


def test_a_perfect_score_beats_any_other(series: tuple[np.ndarray, np.ndarray]) -> None:
    score, label = series

    assert auc_pr(label.astype(float), label) == 1.0
    assert vus_pr(label + 0.001 * score, label) > vus_pr(score, label)


def test_events_are_runs_with_inclusive_ends() -> None:
    starts, ends = events(np.array([1, 0, 1, 1, -1, 1]))

    assert (starts.tolist(), ends.tolist()) == ([0, 2, 5], [0, 3, 5])


@pytest.mark.parametrize("measure", [auc_pr, vus_pr])
def test_labels_without_an_anomaly_are_an_error(measure: object) -> None:
    with pytest.raises(ValueError, match="no anomaly"):
        measure(np.arange(5.0), np.array([0, 0, -1, 0, 0]))  # type: ignore[operator]
