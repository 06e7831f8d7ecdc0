"""Images through a network, as many at a time as its device has memory for: smaller batches, and at last the CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import CopyScopeError
from ..files.pixels import Pixels

if TYPE_CHECKING:
    import torch

    Run: TypeAlias = Callable[[Sequence[Pixels]], torch.Tensor]
    """A few images through a network: floating point, (n, dimension), on any device."""

log = logging.getLogger(__name__)

_NO_MEMORY = ("out of memory", "out_of_memory", "out_of_device_memory", "alloc_failed", "allocate memory",
              "not enough memory")  # fmt: skip
"""How PyTorch says that memory is used up: of CUDA, ROCm and Apple's GPUs, Intel's, cuDNN and cuBLAS, and the CPU."""


class Batches:
    """Runs a network on images, a batch at a time.

    Where a batch does not fit into the device's memory, which a host's own models may fill, it is halved; where a
    single image does not fit, it and all that follow go to the CPU. What fitted is kept to, so that no later batch
    fails again. On a CUDA device the next batch is prepared while one is computed.

    Args:
        run: the network on its device.
        on_cpu: the same network on the CPU; None: it cannot run there, or does already.
        size: images that go through the network at a time.
    """

    def __init__(self, run: Run, on_cpu: Run | None, size: int) -> None:
        if size < 1:
            raise ValueError("batch_size must be at least 1.")
        self.size = size
        self._run = run
        self._on_cpu = on_cpu
        self._most = size

    def __call__(self, images: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """The rows of all images.

        Raises:
            CopyScopeError: a single image does not fit into memory, of the CPU too.
        """
        import torch

        rows: list[torch.Tensor] = []
        running: torch.cuda.Event | None = None
        done = 0
        while done < len(images):
            part = images[done : done + (self._most or self.size)]
            made = self._try(part)
            if made is None:
                self._shrink(len(part))
            else:
                rows.append(made)
                done += len(part)
                before, running = running, _mark(made)
                if before is not None:  # one batch ahead, no more: what is prepared takes memory
                    before.synchronize()
        result: npt.NDArray[np.float32] = torch.cat([row.float().cpu() for row in rows]).numpy()
        return result

    def _try(self, images: Sequence[Pixels]) -> torch.Tensor | None:
        """The rows; None where memory does not suffice. The error, and what its frames hold, ends here."""
        run = self._run if self._most else self._on_cpu
        if run is None:
            raise CopyScopeError(
                "The features of one image do not fit into memory; close other programs, or unload models, and run the "
                "same again: what is finished is kept."
            )
        try:
            return run(images)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if not self._most:
                raise CopyScopeError(
                    f"The features of {len(images)} images do not fit into this machine's memory; close other programs "
                    "and run the same again: what is finished is kept."
                ) from error
            return None

    def _shrink(self, failed: int) -> None:
        import torch

        self._most = failed // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        where = f"{self._most} images at a time are tried" if self._most else "the CPU takes over"
        log.warning("The features of %d images do not fit into the device's memory; %s.", failed, where)


def _mark(made: torch.Tensor) -> torch.cuda.Event | None:
    """What can be waited for until a CUDA device has computed this; None: it has been computed, or the wait is at its
    end, where the rows are fetched.
    """
    import torch

    if not made.is_cuda:
        return None
    event = torch.cuda.Event()  # type: ignore[no-untyped-call, unused-ignore]
    event.record(torch.cuda.current_stream(made.device))
    return event


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is used up."""
    text = str(error).lower()
    named = any("OutOfMemory" in cls.__name__ for cls in type(error).__mro__)
    return named or isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY)
