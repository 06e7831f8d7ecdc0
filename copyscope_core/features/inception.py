"""The Inception network of the Fréchet Inception Distance (TensorFlow, 2015-12-05), on torchvision's blocks.

The network differs from torchvision's in its pooling: average pooling leaves padded zeros out, and the last block pools
by maximum (Heusel et al. 2017; the same three patches as in pytorch-fid and torch-fidelity). The weights are bundled;
``tools/convert_inception.py`` makes them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import CopyScopeError
from ..files.images import in_threads
from ..files.pixels import Pixels, resize_bicubic
from .style import CHANNELS, CORRELATED_LAYER, CorrelationSketch, channel_statistics, moments, style_vector

WEIGHTS_PATH = Path(__file__).parents[1] / "weights" / "inception_2015_12_05.safetensors"
WEIGHTS_SHA256 = "1187e428a82651e94409755c27b92440b550fcfcd0a628d7ad802b646edce2ed"
INPUT_SIZE = 299


@functools.cache
def _blocks() -> SimpleNamespace:
    """torchvision's Inception blocks with the FID network's pooling.

    torchvision is imported here, not at the top: alone it takes seconds, and ComfyUI imports this module at its start.

    Raises:
        CopyScopeError: it cannot be imported, which is most often because it was built for another PyTorch.
    """
    try:
        from torchvision.models import inception as vision
    except (ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CopyScopeError(
            f"torchvision does not work with the PyTorch {torch.__version__} that is installed here ({reason}); "
            "install both together, from one place."
        ) from error

    def average_pool(x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, kernel_size=3, stride=1, padding=1, count_include_pad=False)

    def max_pool(x: Tensor) -> Tensor:
        return functional.max_pool2d(x, kernel_size=3, stride=1, padding=1)

    class BlockA(vision.InceptionA):  # type: ignore[misc, unused-ignore]
        def _forward(self, x: Tensor) -> list[Tensor]:
            return [
                self.branch1x1(x),
                self.branch5x5_2(self.branch5x5_1(x)),
                self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
                self.branch_pool(average_pool(x)),
            ]

    class BlockC(vision.InceptionC):  # type: ignore[misc, unused-ignore]
        def _forward(self, x: Tensor) -> list[Tensor]:
            double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
            return [
                self.branch1x1(x),
                self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
                self.branch7x7dbl_5(self.branch7x7dbl_4(double)),
                self.branch_pool(average_pool(x)),
            ]

    class BlockE(vision.InceptionE):  # type: ignore[misc, unused-ignore]
        def pool(self, x: Tensor) -> Tensor:
            return average_pool(x)

        def _forward(self, x: Tensor) -> list[Tensor]:
            single = self.branch3x3_1(x)
            double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
            return [
                self.branch1x1(x),
                self.branch3x3_2a(single),
                self.branch3x3_2b(single),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                self.branch_pool(self.pool(x)),
            ]

    class LastBlockE(BlockE):
        def pool(self, x: Tensor) -> Tensor:
            return max_pool(x)

    return SimpleNamespace(
        conv=vision.BasicConv2d,
        a=BlockA,
        b=vision.InceptionB,
        c=BlockC,
        d=vision.InceptionD,
        e=BlockE,
        last_e=LastBlockE,
    )


class FIDInception(nn.Module):
    """FID's Inception network up to its last pooling layer, with the style of early layers beside it.

    Parameter names are torchvision's. The classifier is left out.
    """

    def __init__(self) -> None:
        super().__init__()
        block = _blocks()
        self.Conv2d_1a_3x3 = block.conv(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = block.conv(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = block.conv(32, 64, kernel_size=3, padding=1)
        self.maxpool1 = nn.MaxPool2d(kernel_size=3, stride=2)
        self.Conv2d_3b_1x1 = block.conv(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = block.conv(80, 192, kernel_size=3)
        self.maxpool2 = nn.MaxPool2d(kernel_size=3, stride=2)
        self.Mixed_5b = block.a(192, pool_features=32)
        self.Mixed_5c = block.a(256, pool_features=64)
        self.Mixed_5d = block.a(288, pool_features=64)
        self.Mixed_6a = block.b(288)
        self.Mixed_6b = block.c(768, channels_7x7=128)
        self.Mixed_6c = block.c(768, channels_7x7=160)
        self.Mixed_6d = block.c(768, channels_7x7=160)
        self.Mixed_6e = block.c(768, channels_7x7=192)
        self.Mixed_7a = block.d(768)
        self.Mixed_7b = block.e(1280)
        self.Mixed_7c = block.last_e(2048)
        self.sketch = CorrelationSketch()

    def forward(self, images: Tensor) -> Tensor:
        """Features of a batch.

        Args:
            images: float32, (N, 3, 299, 299), RGB in 0…255, not normalised.

        Returns:
            float32, (N, 2974): the 2048 pool3 activations, then the 926 numbers of ``style_vector``.

        Raises:
            ValueError: the batch has another shape.
        """
        if images.ndim != 4 or images.shape[1:] != (3, INPUT_SIZE, INPUT_SIZE):
            raise ValueError(f"FIDInception takes (N, 3, {INPUT_SIZE}, {INPUT_SIZE}), not {tuple(images.shape)}.")
        # The graph of 2015-12-05 subtracts 128 and multiplies by 0.0078125, so its input is −1 … 0.9921875.
        x = (images - 128.0) / 128.0
        statistics = []
        for name, layer in self.layers():
            if name not in CHANNELS:
                x = layer(x)
                continue
            x = layer.bn(layer.conv(x))
            mean, covariances = moments(x)
            statistics.append(channel_statistics(mean, covariances, layer.bn.bias))
            if name == CORRELATED_LAYER:
                correlations = self.sketch(covariances)
            x = functional.relu(x, inplace=True)
        return torch.cat([x.mean(dim=(2, 3)), style_vector(torch.cat(statistics, dim=1), correlations)], dim=1)

    def layers(self) -> list[tuple[str, Any]]:
        """The layers from the image to the last block, in order, with their names."""
        return [(name, layer) for name, layer in self.named_children() if layer is not self.sketch]


def load_inception(device: torch.device | str = "cpu", runs_on: torch.device | str | None = None) -> FIDInception:
    """FID's Inception ready for use: without gradients, batch norms folded into the convolutions.

    Args:
        device: where it is put.
        runs_on: where a host moves it before it runs; None: it stays. Its weights lie channels last for a CPU, where
            that is faster, and channels first for anything else, as is faster on an H100 (docs/performance.md).

    Raises:
        CopyScopeError: the weights file is missing or is not the pinned one.
    """
    model = load_published()
    _fold_batch_norms(model)
    on_cpu = torch.device(device if runs_on is None else runs_on).type == "cpu"
    layout = torch.channels_last if on_cpu else torch.contiguous_format
    return model.to(device=device, memory_format=layout)  # type: ignore[call-overload, no-any-return, unused-ignore]


def network_input(images: Sequence[Pixels], device: torch.device | str) -> Tensor:
    """Images as the network takes them, resized as clean-fid does.

    On a CUDA device they are resized there, by PyTorch's antialiased bicubic filter: Pillow's, but for the rounding of
    float32. Else Pillow does it on the CPU, on all cores.

    Args:
        images: uint8 (H, W, 3) of any sizes.
        device: where the network runs.

    Returns:
        float32, (n, 3, 299, 299), 0…255, on the device if that is a CUDA device, else on the CPU.
    """
    if torch.device(device).type == "cuda":
        pinned = (torch.from_numpy(np.require(pixels, requirements=("C", "W"))).pin_memory() for pixels in images)
        return torch.cat([resize_tensor(item.to(device, non_blocking=True)) for item in pinned])
    resized = np.stack(in_threads(lambda pixels: resize_bicubic(pixels, INPUT_SIZE, INPUT_SIZE), images))
    return torch.from_numpy(resized).permute(0, 3, 1, 2)  # channels last in memory, as the network's weights


def resize_tensor(image: Tensor) -> Tensor:
    """What ``resize_bicubic`` gives of one image, uint8 (H, W, 3), on its device: float32 (1, 3, 299, 299), 0…255."""
    channels = image.permute(2, 0, 1)[None].float().contiguous()
    resized = functional.interpolate(
        channels, size=(INPUT_SIZE, INPUT_SIZE), mode="bicubic", align_corners=False, antialias=True
    )
    return resized.clamp_(0.0, 255.0)


def load_published() -> FIDInception:
    """FID's Inception with the bundled weights as they were published, in eval mode, without gradients.

    Raises:
        CopyScopeError: the weights file is missing or is not the pinned one.
    """
    from safetensors.torch import load

    try:
        data = WEIGHTS_PATH.read_bytes()
    except OSError as error:
        raise CopyScopeError(
            f"The Inception weights {WEIGHTS_PATH} cannot be read ({error.strerror}); install CopyScope again."
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise CopyScopeError(
            f"The Inception weights {WEIGHTS_PATH} are not the file that CopyScope ships "
            f"(SHA-256 {digest[:12]}… instead of {WEIGHTS_SHA256[:12]}…); install CopyScope again."
        )
    with torch.device("meta"):
        model = FIDInception()
    model.load_state_dict(load(data), assign=True)
    model.requires_grad_(False)
    return model.eval()


def _fold_batch_norms(model: FIDInception) -> None:
    """Put each batch norm, in eval mode a factor and a constant a channel, into the convolution before it."""
    for block in model.modules():
        if isinstance(block, _blocks().conv):
            conv, norm = block.conv, block.bn
            factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
            weight = conv.weight.double() * factor[:, None, None, None]
            bias = norm.bias.double() - norm.running_mean.double() * factor
            conv.weight = nn.Parameter(weight.float(), requires_grad=False)
            conv.bias = nn.Parameter(bias.float(), requires_grad=False)
            block.bn = nn.Identity().eval()
            block.bn.register_buffer("bias", norm.bias.detach(), persistent=False)  # what style_vector compares with


def _precision_switches() -> list[tuple[Any, str, Any]]:
    """Each switch of PyTorch that can change a float32 convolution: its owner, its name, and the value wanted here."""
    backends = torch.backends
    switches: list[tuple[Any, str, Any]] = [
        (backends.cudnn, "benchmark", False),
        (backends.cudnn, "deterministic", True),
    ]
    if hasattr(backends.cudnn, "conv"):  # torch 2.9 and later; reading the older switches after these raises
        owners = (backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv, backends.mkldnn.matmul)  # type: ignore[attr-defined, unused-ignore]
        switches += [(owner, "fp32_precision", "ieee") for owner in owners]
    else:
        switches += [(backends.cudnn, "allow_tf32", False), (backends.cuda.matmul, "allow_tf32", False)]
    return switches


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Inference in plain float32 with deterministic algorithms: no TF32, no autocast; all settings are restored."""
    switches = _precision_switches()
    before = [getattr(owner, name) for owner, name, _ in switches]
    try:
        for owner, name, value in switches:
            setattr(owner, name, value)
        with torch.inference_mode(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        for (owner, name, _), value in zip(switches, before, strict=True):
            setattr(owner, name, value)
