"""Training of the window autoencoder. The only module that needs torch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stream_infer.errors import ConfigError
from stream_infer.models.families.network import Network
from stream_infer.models.families.part import Fitting

__all__ = ["train_autoencoder"]

BATCH = 256
STEPS_MAX = 2400
CHECK_STEPS = 200
PATIENCE = 3
WORK_MAX = 4e11
"""Weights times windows that pass through them: what some minutes of one core take at most."""

_LEARNING_RATE = 1e-3
_HIDDEN_MAX = 256
_MIDDLE_SHARE = 24
_MIDDLE_MAX = 64
_LEAST_GAIN = 1e-4


def train_autoencoder(
    learnt: NDArray[np.float32], held_out: NDArray[np.float32], fitting: Fitting
) -> Network:
    """Train on flat windows (n, W * F); the state that is best on ``held_out`` (m, W * F) counts.

    Adam, mean square error, batches of 256, a falling rate; at most 2,400 steps, and none more once three checks, one
    every 200 steps, brought nothing. The same seed gives the same weights on the same kind of machine. Raises
    ConfigError for a device that torch has not.
    """
    device = _device(fitting.device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order, and no waiting for each other: the products are small
    try:
        return _train(learnt, held_out, fitting, device)
    finally:
        torch.set_num_threads(threads)


def _train(
    learnt: NDArray[np.float32], held_out: NDArray[np.float32], fitting: Fitting, device: torch.device
) -> Network:
    generator = torch.Generator().manual_seed(fitting.seed)
    network = _drawn(learnt.shape[1], generator).to(device)
    rows, judges = torch.from_numpy(learnt).to(device), torch.from_numpy(held_out).to(device)
    weights = sum(tensor.numel() for tensor in network.parameters())
    steps = max(CHECK_STEPS, min(STEPS_MAX, int(WORK_MAX / (weights * BATCH))))
    optimizer = torch.optim.Adam(network.parameters(), _LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, best_loss, vain = _copied(network), float("inf"), 0
    order = torch.empty(0, dtype=torch.int64)
    for step in range(1, steps + 1):
        if len(order) < BATCH:
            order = torch.cat([order, torch.randperm(len(rows), generator=generator)])
        chosen, order = order[:BATCH].to(device), order[BATCH:]
        batch = rows[chosen]
        loss = nn.functional.mse_loss(network(batch), batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % CHECK_STEPS == 0:
            loss_now = _loss(network, judges)
            vain = 0 if loss_now < best_loss - _LEAST_GAIN * abs(best_loss) else vain + 1
            if loss_now < best_loss:
                best, best_loss = _copied(network), loss_now
            fitting.progress(step / steps)
            if vain >= PATIENCE:
                break
    fitting.progress(1.0)
    return best


def _drawn(width: int, generator: torch.Generator) -> nn.Sequential:
    """The network before it has learnt anything."""
    hidden = min(_HIDDEN_MAX, 2 * width)
    middle = min(_MIDDLE_MAX, max(2, width // _MIDDLE_SHARE))
    sizes = (width, hidden, middle, hidden, width)
    layers = [nn.Linear(inputs, outputs) for inputs, outputs in pairwise(sizes)]
    with torch.no_grad():
        for layer in layers:
            bound = layer.in_features**-0.5
            for tensor in (layer.weight, layer.bias):
                tensor.uniform_(-bound, bound, generator=generator)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], layers[2], nn.ReLU(), layers[3])


def _loss(network: nn.Sequential, rows: torch.Tensor) -> float:
    with torch.no_grad():
        losses = [nn.functional.mse_loss(network(part), part).item() * len(part) for part in rows.split(4096)]
    return float(sum(losses)) / len(rows)


def _copied(network: nn.Sequential) -> Network:
    """Weights as the graph wants them."""
    dense = [
        (layer.weight.detach().cpu().numpy().T.copy(), layer.bias.detach().cpu().numpy().copy())
        for layer in network
        if isinstance(layer, nn.Linear)
    ]
    return Network((dense[0], dense[1], dense[2], dense[3]))


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"--device cuda: torch {torch.__version__} finds no CUDA device; check the driver, or use --device cpu"
        )
    return torch.device(name)
