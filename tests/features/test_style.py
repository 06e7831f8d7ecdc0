"""Style: moments of channels as NumPy gives them, a sketch that is the same everywhere, and what does not count."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from copyscope_core.features.extractor import INCEPTION_ID
from copyscope_core.features.inception import FIDInception, full_precision, load_inception, load_published
from copyscope_core.features.style import (
    CHANNELS,
    CorrelationSketch,
    channel_statistics,
    count_sketch,
    moments,
    style_vector,
)
from copyscope_core.features.views import STYLE_DIMENSION

ENTRIES = 192 * 191 // 2
PINNED = "1b9ae5b2636e8a5ba38719fe47e8ba2d1eff2ad61597442220b1a0a243bf7581"


def activations(seed: int, n: int = 2, side: int = 9) -> torch.Tensor:
    """Channels that go together in part, (n, 192, side, side)."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(192, 192)) @ rng.normal(size=(n, 192, side * side)) + rng.normal(size=(n, 192, 1))
    return torch.from_numpy((mixed / 14).reshape(n, 192, side, side).astype(np.float32))


def upper_correlations(x: torch.Tensor) -> np.ndarray:
    """Correlations above the diagonal, (n, 18336), by NumPy in float64."""
    rows = [np.corrcoef(item.numpy().reshape(192, -1).astype(np.float64)) for item in x]
    return np.stack([row[np.triu_indices(192, 1)] for row in rows])


def sketched(correlations: np.ndarray) -> np.ndarray:
    """The sketch as its docstring says, one number after the other."""
    keys = sorted((hashlib.sha256(f"copyscope-style:{i}".encode()).digest(), i) for i in range(ENTRIES))
    buckets = np.zeros((len(correlations), 382))
    for place, (key, i) in enumerate(keys):
        buckets[:, place // 48] += (-1 if key[-1] % 2 else 1) * correlations[:, i]
    return buckets


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_moments_are_numpys(layout: torch.memory_format) -> None:
    x = activations(1)
    mean, covariances = moments(x.contiguous(memory_format=layout))
    for row, item in enumerate(x.numpy().reshape(2, 192, -1).astype(np.float64)):
        assert mean[row].numpy() == pytest.approx(item.mean(axis=1), abs=1e-5)
        assert covariances[row].numpy() == pytest.approx(np.cov(item, ddof=0), abs=1e-5)


def test_statistics_are_against_those_of_the_training_pictures() -> None:
    mean, expected = torch.tensor([[0.5, -1.0]]), torch.tensor([0.25, -1.0])
    covariances = torch.tensor([[[4.0, 0.3], [0.3, 0.0]]])
    found = channel_statistics(mean, covariances, expected)[0].numpy()
    assert found == pytest.approx([0.25, 0, np.log(4.001) / 2, np.log(0.001) / 2])


def test_is_the_sketch_of_the_correlations() -> None:
    x = activations(1)
    assert CorrelationSketch()(moments(x)[1]).numpy() == pytest.approx(sketched(upper_correlations(x)), abs=0.05)


def test_inner_products_survive_the_sketch() -> None:
    """Their standard error is about |x||y|/√382 (Charikar, Chen and Farach-Colton 2002)."""
    full = np.concatenate([upper_correlations(activations(seed, 1)) for seed in range(12)])
    full -= full.mean(axis=0)
    small = sketched(full)
    lengths = np.sqrt((full**2).sum(axis=1))
    errors = (small @ small.T - full @ full.T) / np.outer(lengths, lengths) * np.sqrt(382)
    assert 0.5 < errors[np.triu_indices(12, 1)].std() < 1.5


def test_the_order_and_the_signs_are_pinned() -> None:
    order, signs = count_sketch(ENTRIES)
    assert sorted(order) == list(range(ENTRIES))
    assert set(signs) == {-1, 1}
    text = " ".join(f"{sign * (index + 1)}" for index, sign in zip(order, signs, strict=True))
    assert hashlib.sha256(text.encode()).hexdigest() == PINNED


def test_place_and_strength_of_channels_do_not_count_for_correlations() -> None:
    x = activations(2)
    moved = x.flatten(2)[:, :, torch.from_numpy(np.random.default_rng(0).permutation(81))].unflatten(2, (9, 9))
    stronger = x * torch.linspace(1, 5, 192)[:, None, None] + 3
    rows = CorrelationSketch()(moments(torch.cat([x, moved, stronger]))[1]).numpy()
    assert rows[2:4] == pytest.approx(rows[:2], abs=1e-4)
    assert rows[4:] == pytest.approx(rows[:2], abs=0.05)


def test_channels_that_do_not_vary_correlate_with_nothing() -> None:
    covariances = moments(torch.full((1, 192, 5, 5), 3.0))[1]
    assert CorrelationSketch()(covariances).abs().max() < 0.05


def test_both_halves_weigh_the_same_and_the_inner_product_over_d_is_the_mean_cosine() -> None:
    rng = np.random.default_rng(5)
    statistics, correlations = (torch.from_numpy(rng.normal(size=(2, d))) for d in (544, 382))
    x, y = style_vector(statistics, 100 * correlations).numpy()

    def cosine(rows: torch.Tensor) -> float:
        a, b = rows.numpy()
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert x @ x / len(x) == pytest.approx(1)
    assert x @ y / len(x) == pytest.approx((cosine(statistics) + cosine(correlations)) / 2)


def test_the_network_gives_the_style_of_its_layers(network: FIDInception) -> None:
    """From activations that hooks see in the published network: float64, one image after the other."""
    published = load_published()
    seen: dict[str, np.ndarray] = {}

    def keep(name: str) -> None:
        def hook(_module: object, _inputs: object, output: torch.Tensor) -> None:
            seen[name] = output.clone().numpy().astype(np.float64)

        getattr(published, name).bn.register_forward_hook(hook)

    for name in CHANNELS:
        keep(name)
    rng = np.random.default_rng(3)
    coarse = torch.from_numpy(rng.uniform(0, 255, size=(2, 3, 23, 23)).astype(np.float32))
    images = torch.nn.functional.interpolate(coarse, size=(299, 299), mode="bicubic").clamp(0, 255)
    with full_precision():
        published(images)
        rows = network(images)[:, 2048:].numpy()
    assert rows.shape == (2, STYLE_DIMENSION)
    for row, found in enumerate(rows):
        statistics, last = [], np.zeros(0)
        for name, values in seen.items():
            last = values[row].reshape(CHANNELS[name], -1)
            expected = getattr(published, name).bn.bias.numpy()
            statistics += [last.mean(axis=1) - expected, np.log(last.var(axis=1) + 1e-3) / 2]
        covariances = np.cov(last, ddof=0)
        deviations = np.sqrt(np.diag(covariances) + 1e-3)
        upper = (covariances / np.outer(deviations, deviations))[np.triu_indices(192, 1)]
        halves = [np.concatenate(statistics), sketched(upper[None])[0]]
        whole = np.concatenate([half / np.linalg.norm(half) for half in halves]) * np.sqrt(STYLE_DIMENSION / 2)
        assert found == pytest.approx(whole, abs=2e-3)


def test_the_id_names_layers_and_length() -> None:
    layers = [name.split("_")[1] for name in CHANNELS]
    assert INCEPTION_ID.endswith(f".style-{'-'.join(layers)}-{STYLE_DIMENSION}")


@pytest.fixture(scope="module")
def network() -> FIDInception:
    return load_inception()
