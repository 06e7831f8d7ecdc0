"""Fréchet distance: known answers, exact arithmetic, invariances, and the public FID packages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copyscope_core.distances import frechet
from copyscope_core.distances.frechet import (
    TOLERANCE,
    Frechet,
    _square_factor,
    covariance_factor,
    covariance_part,
    frechet_distance,
    frechet_from_grams,
    frechet_from_statistics,
)
from copyscope_core.errors import GameError


def features(seed: int, n: int, d: int, shift: float = 0.0) -> np.ndarray:
    """Correlated, non-negative numbers, much as Inception gives them."""
    rng = np.random.default_rng(seed)
    return np.abs(rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / np.sqrt(d) + shift)


def statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sigma = np.cov(x, rowvar=False) if len(x) > 1 else np.zeros((x.shape[1], x.shape[1]))
    return x.mean(axis=0), np.atleast_2d(sigma)


def scale(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sum(x**2) + np.sum(y**2))


shapes = st.tuples(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 12), st.integers(1, 9))


@given(shapes)
@settings(max_examples=60, deadline=None)
def test_a_set_is_at_distance_zero_from_itself_and_from_its_permutation(shape: tuple[int, int, int, int]) -> None:
    seed, n, _, d = shape
    x = features(seed, n, d)
    assert frechet_distance(x, x).mean == 0
    assert frechet_distance(x, x).distance == pytest.approx(0, abs=1e-12 * scale(x, x))
    assert frechet_distance(x, x[::-1]).distance == pytest.approx(0, abs=1e-12 * scale(x, x))


@given(shapes)
@settings(max_examples=60, deadline=None)
def test_symmetric_and_not_negative(shape: tuple[int, int, int, int]) -> None:
    seed, n1, n2, d = shape
    x, y = features(seed, n1, d), features(seed + 1, n2, d, shift=0.5)
    forth, back = frechet_distance(x, y), frechet_distance(y, x)
    assert forth.mean == pytest.approx(back.mean, rel=1e-12)
    assert forth.covariance == pytest.approx(back.covariance, abs=1e-12 * scale(x, y))
    assert forth.mean >= 0
    assert forth.covariance >= 0


@given(shapes)
@settings(max_examples=60, deadline=None)
def test_rotating_or_shifting_both_sets_changes_nothing_and_scaling_squares(shape: tuple[int, int, int, int]) -> None:
    seed, n1, n2, d = shape
    x, y = features(seed, n1, d), features(seed + 1, n2, d, shift=0.5)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed + 2).normal(size=(d, d)))
    plain = frechet_distance(x, y)
    turned = frechet_distance(x @ rotation + 3, y @ rotation + 3)
    assert turned.mean == pytest.approx(plain.mean, abs=1e-11 * scale(x + 3, y + 3))
    assert turned.covariance == pytest.approx(plain.covariance, abs=1e-11 * scale(x + 3, y + 3))
    assert frechet_distance(3 * x, 3 * y).distance == pytest.approx(9 * plain.distance, rel=1e-9, abs=1e-9)


@given(shapes)
@settings(max_examples=60, deadline=None)
def test_grams_and_statistics_give_the_same(shape: tuple[int, int, int, int]) -> None:
    seed, n1, n2, d = shape
    x, y = features(seed, n1, d), features(seed + 1, n2, d, shift=0.5)
    plain = frechet_distance(x, y)
    # Eigenvectors of a covariance know a zero eigenvalue to 1e-16 only, its root to 1e-8: hence the cut-off.
    for other in (
        frechet_from_grams(x @ x.T, x @ y.T, y @ y.T),
        frechet_from_statistics(*statistics(x), *statistics(y)),
    ):
        assert other.mean == pytest.approx(plain.mean, abs=1e-11 * scale(x, y))
        assert other.covariance == pytest.approx(plain.covariance, abs=1e-10 * scale(x, y))


def test_resampled_grams_equal_resampled_features() -> None:
    x, y = features(1, 12, 30), features(2, 9, 30)
    rows, columns = np.array([0, 0, 3, 7, 7, 11]), np.array([8, 1, 1, 2])
    xx, xy, yy = x @ x.T, x @ y.T, y @ y.T
    grams = (xx[np.ix_(rows, rows)], xy[np.ix_(rows, columns)], yy[np.ix_(columns, columns)])
    assert frechet_from_grams(*grams).distance == pytest.approx(
        frechet_distance(x[rows], y[columns]).distance, rel=1e-9
    )


def test_closed_form_for_independent_gaussians() -> None:
    """Diagonal covariances: ‖Δμ‖² + Σ(σ₁−σ₂)²."""
    rng = np.random.default_rng(3)
    mu1, mu2 = rng.normal(size=(2, 7))
    sd1, sd2 = rng.uniform(0, 3, size=(2, 7))
    result = frechet_from_statistics(mu1, np.diag(sd1**2), mu2, np.diag(sd2**2))
    assert result.mean == pytest.approx(np.sum((mu1 - mu2) ** 2), rel=1e-12)
    assert result.covariance == pytest.approx(np.sum((sd1 - sd2) ** 2), rel=1e-9)


def test_closed_form_for_samples_whose_statistics_are_known() -> None:
    """±σ along each axis has mean 0 and a diagonal covariance, so features too have a closed form."""
    x = np.vstack([np.diag([1.0, 2.0, 3.0]), -np.diag([1.0, 2.0, 3.0])])
    y = np.vstack([np.diag([2.0, 2.0, 1.0]), -np.diag([2.0, 2.0, 1.0])]) + 5
    result = frechet_distance(x, y)
    assert result.mean == pytest.approx(75)
    assert result.covariance == pytest.approx(2 / 5 * (1 + 0 + 4))


def test_equal_covariances_leave_the_distance_of_the_means() -> None:
    x = features(4, 20, 6)
    result = frechet_distance(x, x + np.arange(6))
    assert result.mean == pytest.approx(55)
    assert result.covariance == pytest.approx(0, abs=1e-10)
    assert result.distance == result.mean + result.covariance


def test_a_single_image_is_a_point_mass() -> None:
    x, y = features(5, 1, 8), features(6, 15, 8)
    result = frechet_distance(x, y)
    mu, sigma = statistics(y)
    assert result.mean == pytest.approx(np.sum((x[0] - mu) ** 2))
    assert result.covariance == pytest.approx(np.trace(sigma))
    assert frechet_distance(x, x[:1] + 2) == Frechet(mean=pytest.approx(4 * 8), covariance=0.0)


def test_more_images_than_dimensions_gives_the_same_as_the_direct_form() -> None:
    x, y = features(7, 40, 5), features(8, 30, 5, shift=1)
    assert frechet_distance(x, y).covariance == pytest.approx(directly(x, y), rel=1e-10)
    assert covariance_part(covariance_factor(x), covariance_factor(y)) == pytest.approx(directly(x, y), rel=1e-10)


def directly(x: np.ndarray, y: np.ndarray) -> float:
    """The covariance part from the singular values of the centred sets' product, without any short cut."""
    a, b = ((z - z.mean(axis=0)) / np.sqrt(max(len(z) - 1, 1)) for z in (x, y))
    return float(np.sum(a**2) + np.sum(b**2) - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum())


SPECTRA = {
    "flat": lambda i: np.ones_like(i),
    "Inception's": lambda i: (1 + i) ** -0.5,
    "steep": lambda i: (1 + i) ** -2.0,
    "geometric": lambda i: 0.9**i,
    "few directions": lambda i: (i < 40) * 1.0,
    "one direction": lambda i: np.where(i == 0, 1.0, 1e-4),
}


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize(("n1", "n2", "d"), [(150, 150, 400), (200, 300, 210), (211, 211, 210), (400, 300, 200)])
def test_large_sets_lose_nothing_to_squaring(spectrum: str, n1: int, n2: int, d: int) -> None:
    rng = np.random.default_rng(n1)
    scales = SPECTRA[spectrum](np.arange(d, dtype=np.float64))
    turn = rng.normal(size=(d, d)) / np.sqrt(d)
    x, y = ((rng.normal(size=(n, d)) * scales) @ turn + 0.3 for n in (n1, n2))
    assert frechet_distance(x, y).covariance == pytest.approx(directly(x, y), rel=TOLERANCE)
    assert frechet_distance(x, x).covariance == pytest.approx(0, abs=1e-12 * scale(x, x))


def test_large_sets_whose_smallest_singular_values_are_refined(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many images as dimensions: roots of eigenvalues alone would be off, those of the refined ones are not."""
    linalg = pytest.importorskip("scipy.linalg")
    refined: list[int] = []
    eigh = linalg.eigh

    def counted(square: np.ndarray, subset_by_index: tuple[int, int]) -> object:
        refined.append(subset_by_index[1] + 1)
        return eigh(square, subset_by_index=subset_by_index)

    monkeypatch.setattr(linalg, "eigh", counted)
    rng = np.random.default_rng(5)
    n = 300
    # Both sets have the same directions, and the last 60 of them are faint in both.
    scales = np.where(np.arange(n) < n - 60, 1.0, 1e-6)
    x, y = (rng.normal(size=(n + 1, n)) * scales for _ in range(2))
    found = frechet_distance(x, y).covariance
    assert refined
    assert 0 < refined[0] <= n // 4
    assert found == pytest.approx(directly(x, y), rel=TOLERANCE)


@pytest.mark.parametrize("size", [0.0, 1e-120, 1e100])
def test_large_sets_of_tiny_or_huge_numbers(size: float) -> None:
    rng = np.random.default_rng(6)
    x, y = (rng.normal(size=(150, 160)) * size for _ in range(2))
    assert frechet_distance(x, y).covariance == pytest.approx(directly(x, y), rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3, 50])
def test_a_covariance_factor_has_one_row_less_than_there_are_images(n: int) -> None:
    x = features(14, n, 6)
    factor = covariance_factor(x)
    assert factor.shape == (n - 1, 6)
    assert factor.T @ factor == pytest.approx(statistics(x)[1], abs=1e-14)


@pytest.mark.parametrize(("n1", "n2", "d"), [(3, 4, 6), (9, 8, 4), (5, 12, 5)])
def test_exact_arithmetic(n1: int, n2: int, d: int) -> None:
    """Against 60 digits: tr (Σ₁Σ₂)^½ from the eigenvalues of Σ₁Σ₂."""
    mpmath = pytest.importorskip("mpmath", reason="mpmath (comes with torch) is needed for exact arithmetic")
    x, y = features(9, n1, d), features(10, n2, d, shift=0.3)
    with mpmath.workdps(60):

        def exact(z: np.ndarray) -> tuple[object, object]:
            m = mpmath.matrix(z.tolist())
            mu = [mpmath.fsum(m[i, j] for i in range(len(z))) / len(z) for j in range(d)]
            centred = mpmath.matrix(len(z), d)
            for i in range(len(z)):
                for j in range(d):
                    centred[i, j] = m[i, j] - mu[j]
            return mu, centred.T * centred / (len(z) - 1)

        (mu1, sigma1), (mu2, sigma2) = exact(x), exact(y)
        values = mpmath.eig(sigma1 * sigma2, left=False, right=False)
        root = mpmath.fsum(mpmath.sqrt(abs(mpmath.re(value))) for value in values if abs(value) > mpmath.mpf(10) ** -30)
        mean = float(mpmath.fsum((p - q) ** 2 for p, q in zip(mu1, mu2, strict=True)))
        covariance = float(sum(sigma1[j, j] + sigma2[j, j] for j in range(d)) - 2 * root)
    result = frechet_distance(x, y)
    assert result.mean == pytest.approx(mean, rel=1e-12)
    assert result.covariance == pytest.approx(covariance, rel=1e-11)


# Full rank: all digits. Fewer images than dimensions: they take roots of eigenvalues that are zero but for rounding
# (1e-16, whose root is 1e-8), which is their error, not ours (see test_exact_arithmetic).
CASES = [(200, 150, 64, 1e-12), (20, 30, 64, 1e-6)]


@pytest.mark.parametrize(("n1", "n2", "d", "tolerance"), CASES)
def test_agrees_with_torch_fidelity(n1: int, n2: int, d: int, tolerance: float) -> None:
    metric = pytest.importorskip("torch_fidelity.metric_fid", reason="torch-fidelity is not installed")
    x, y = features(11, n1, d), features(12, n2, d, shift=0.2)
    stats = [dict(zip(("mu", "sigma"), statistics(z), strict=True)) for z in (x, y)]
    theirs = metric.fid_statistics_to_metric(*stats, verbose=False)[metric.KEY_METRIC_FID]
    assert frechet_distance(x, y).distance == pytest.approx(theirs, rel=tolerance)


@pytest.mark.parametrize(("n1", "n2", "d", "tolerance"), CASES)
def test_agrees_with_pytorch_fid(n1: int, n2: int, d: int, tolerance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """It calls ``sqrtm(…, disp=False)`` for a pair; SciPy 1.18 drops that argument, so the pair is made here."""
    module = pytest.importorskip("pytorch_fid.fid_score", reason="pytorch-fid is not installed")
    scipy_linalg = pytest.importorskip("scipy.linalg", reason="SciPy is not installed")

    class Linalg:
        @staticmethod
        def sqrtm(matrix: np.ndarray, disp: bool = True) -> object:
            root = scipy_linalg.sqrtm(matrix)
            return root if disp else (root, 0.0)

    monkeypatch.setattr(module, "linalg", Linalg)
    x, y = features(13, n1, d), features(14, n2, d, shift=0.2)
    theirs = module.calculate_frechet_distance(*statistics(x), *statistics(y))
    assert frechet_distance(x, y).distance == pytest.approx(theirs, rel=tolerance)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((2, 3), np.nan), "NaN or infinite"),
        (np.full((2, 3), np.inf), "NaN or infinite"),
        (np.empty((0, 3)), "not empty"),
        (np.zeros(3), "2 dimension"),
        (np.zeros((2, 4)), "different dimensions"),
        (np.zeros((2, 3), dtype=complex), "real numbers"),
        (np.full((2, 3), 1e200) * [[1.0], [-1.0]], "too large"),
    ],
)
def test_bad_features_are_named(x: np.ndarray, message: str) -> None:
    with pytest.raises(GameError, match=message), np.errstate(over="ignore", invalid="ignore"):
        frechet_distance(x, np.array([[1e200, 2, 3], [4, 5, 7]]))


@pytest.mark.parametrize(
    ("sigma", "message"),
    [
        (np.diag([1.0, -1.0]), "semi-definite"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (np.ones((2, 3)), "square"),
        (np.eye(3), "different dimensions"),
    ],
)
def test_bad_statistics_are_named(sigma: np.ndarray, message: str) -> None:
    with pytest.raises(GameError, match=message):
        frechet_from_statistics(np.zeros(2), np.eye(2), np.zeros(2), sigma)


@pytest.mark.parametrize("smallest", [1.0, 1e-3, 1e-7, 0.0])
def test_more_images_than_numbers_lose_nothing_to_squaring(smallest: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The d×d factor has the singular values of the centred features, the smallest included."""
    monkeypatch.setattr(frechet, "BLOCK", 16)
    x = np.random.default_rng(3).normal(size=(50, 6)) * np.array([1, 1, 1, 1, 1, smallest]) + 0.5
    found = np.linalg.svd(_square_factor(x), compute_uv=False)
    assert found == pytest.approx(np.linalg.svd(covariance_factor(x), compute_uv=False), rel=1e-8, abs=1e-15)


@pytest.mark.parametrize("seed", range(12))
def test_sets_that_hardly_vary_in_one_direction_lose_nothing_to_squaring(seed: int) -> None:
    """In that direction Σ holds nothing but rounding, and the other set varies in no other."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, 3))
    x[:, 2] = x[:, 0] + 1e-12 * rng.normal(size=200)
    y = rng.normal(size=(200, 1)) * [-1.0, 0.0, 1.0] + 1e-3 * rng.normal(size=(200, 3))
    a, b = covariance_factor(x), covariance_factor(y)
    exact = (a**2).sum() + (b**2).sum() - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum()
    assert frechet_distance(x, y).covariance == pytest.approx(exact, rel=1e-10)
