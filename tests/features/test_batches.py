"""Images that do not fit into a device's memory: smaller batches, then the CPU, and no image is lost."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from copyscope_core.errors import CopyScopeError
from copyscope_core.features import batches
from copyscope_core.features.batches import Batches, out_of_memory
from copyscope_core.features.extractor import BATCH_SIZE, CUDA_BATCH_SIZE, FeatureCache, InceptionExtractor
from copyscope_core.files.pixels import Pixels, pixel_hash

IMAGES = [np.full((8, 8, 3), value, dtype=np.uint8) for value in range(10, 30)]


class Small(torch.nn.Module):
    """A network on a device that has memory for so many images; on the CPU it has memory for all."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.calls: list[int] = []
        self.on_cpu = False

    def to(self, device: str) -> Small:  # type: ignore[override]
        self.on_cpu = device == "cpu"
        return self

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(batch))
        if len(batch) > self.most and not self.on_cpu:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return batch.mean(dim=(2, 3)).repeat(1, 992)[:, :2974]


def extractor_of(network: Small) -> InceptionExtractor:
    """An extractor whose network pretends to be on a GPU; its images stay here."""
    extractor = InceptionExtractor("meta", model=network)  # type: ignore[arg-type]
    extractor._run = network
    return extractor


@pytest.mark.parametrize(
    ("most", "calls"),
    [
        (8, [8, 8, 4]),
        (4, [8, 4, 4, 4, 4, 4]),
        (3, [8, 4, *[2] * 10]),
        (1, [8, 4, 2, *[1] * 20]),
        (0, [8, 4, 2, 1, 8, 8, 4]),
    ],
)
def test_batches_are_halved_until_they_fit_and_what_fits_nowhere_goes_to_the_cpu(most: int, calls: list[int]) -> None:
    network = Small(most)
    extractor = extractor_of(network)
    if most == 0:
        extractor._on_device = network  # type: ignore[method-assign]
    rows = extractor(IMAGES)
    assert rows[:, 0] == pytest.approx(range(10, 30))
    assert network.calls == calls
    assert network.on_cpu is (most == 0)
    extractor(IMAGES[:2])
    assert network.calls[len(calls) :] in ([2], [1, 1])  # nothing is tried that has failed


def test_memory_that_ends_in_the_middle_loses_nothing() -> None:
    network = Small(8)
    extractor = extractor_of(network)
    cache = FeatureCache(None, extractor)
    pairs = [(image, pixel_hash(image)) for image in IMAGES]
    cache.features(pairs[:8])
    network.most = 1
    rows = cache.features(pairs)
    assert rows[:, 0] == pytest.approx(range(10, 30))
    assert network.calls == [8, 8, 4, 2, *[1] * 12]


def test_what_happens_is_logged_once_a_step(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        extractor_of(Small(3))(IMAGES)
    assert [record.getMessage().partition(";")[2] for record in caplog.records] == [
        " 4 images at a time are tried.",
        " 2 images at a time are tried.",
    ]


def test_a_batch_is_prepared_while_one_is_computed_and_no_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CUDA device results come later; here events stand for them that note when they are waited for."""
    order: list[str] = []

    class Event:
        def __init__(self, name: str) -> None:
            self.name = name

        def synchronize(self) -> None:
            order.append(f"waited for {self.name}")

    def run(images: Sequence[Pixels]) -> torch.Tensor:
        order.append(f"began {images[0][0, 0, 0]}")
        return torch.tensor([[float(image[0, 0, 0])] for image in images])

    monkeypatch.setattr(batches, "_mark", lambda made: Event(str(int(made[0, 0]))))
    rows = Batches(run, None, 8)(IMAGES)
    assert rows[:, 0].tolist() == list(range(10, 30))
    assert order == ["began 10", "began 18", "waited for 10", "began 26", "waited for 18"]


def test_where_the_cpu_has_no_memory_either_a_sentence_says_so() -> None:
    def full(images: Sequence[Pixels]) -> torch.Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    for on_cpu in (full, None):
        with pytest.raises(CopyScopeError, match=r"do not fit into .*memory; .*run the same again: what is finished"):
            Batches(full, on_cpu, 8)(IMAGES)


def test_other_errors_are_not_hidden() -> None:
    def broken(images: Sequence[Pixels]) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        Batches(broken, None, 8)(IMAGES)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.cuda.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("memory format is not supported"), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
    ],
)
def test_errors_are_told_apart(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) is expected


def test_an_extractor_travels_to_other_processes() -> None:
    again = pickle.loads(pickle.dumps(InceptionExtractor("cpu", batch_size=3)))
    assert again.batch_size == 3
    assert again._batches._run.__self__ is again


def test_a_cuda_device_gets_larger_batches_and_a_cache_asks_for_what_its_extractor_takes() -> None:
    sizes = {device: InceptionExtractor(device).batch_size for device in ("cpu", "mps", "cuda", "cuda:1")}
    assert sizes == {"cpu": BATCH_SIZE, "mps": BATCH_SIZE, "cuda": CUDA_BATCH_SIZE, "cuda:1": CUDA_BATCH_SIZE}
    assert FeatureCache(None, InceptionExtractor("cuda")).batch_size == CUDA_BATCH_SIZE
    assert FeatureCache(None, InceptionExtractor(batch_size=3)).batch_size == 3
