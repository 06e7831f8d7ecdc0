"""One ComfyUI with miniature SD 1.5 models and a reference folder, for the tests of this folder that ask for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hostutil import Server, require_host, start_server
from PIL import Image

from copyscope_core.demo.models import make_model_folder


@pytest.fixture(scope="session")
def mini_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the SD 1.5 miniatures, shared by all servers of the session.

    COPYSCOPE_MINI_MODELS names one that several sessions share.
    """
    require_host()
    shared = os.environ.get("COPYSCOPE_MINI_MODELS")
    folder = Path(shared) if shared else tmp_path_factory.mktemp("models")
    make_model_folder(folder, ["sd15"])
    return folder


def make_base(base: Path, models: Path) -> Path:
    """A base directory for a server: shared models, tiny CLIP-vision models, three reference images in input/ref."""
    (base / "input" / "ref").mkdir(parents=True)
    (base / "models").symlink_to(models, target_is_directory=True)
    (base / "custom_nodes").mkdir()
    for name in ("tiny_clip_vision.py", "faulty_node.py"):
        shutil.copy(Path(__file__).parent / name, base / "custom_nodes")
    rng = np.random.default_rng(7)
    for index in range(3):
        pixels = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 80), Image.Resampling.BICUBIC).save(base / "input" / "ref" / f"{index}.png")
    return base


@pytest.fixture(scope="session")
def mini_server(mini_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running ComfyUI with the pack, default cache."""
    with start_server(make_base(tmp_path_factory.mktemp("host") / "base", mini_models)) as server:
        yield server
