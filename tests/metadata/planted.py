"""Model files with planted metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

KOHYA = {
    "ss_output_name": "mystyle_v2",
    "ss_sd_model_name": "v1-5-pruned-emaonly.safetensors",
    "ss_base_model_version": "sd_v1",
    "ss_training_started_at": "1700000000.5",
    "ss_training_finished_at": "1700003600.0",
    "ss_dataset_dirs": json.dumps({"10_jane-doe": {"n_repeats": 10, "img_count": 43}}),
    "ss_tag_frequency": json.dumps({"10_jane-doe": {"jane doe": 40, "tree": 12}, "2_more": {"jane doe": 3, "sky": 5}}),
    "ss_datasets": json.dumps([{"subsets": [{"class_tokens": "jdstyle", "image_dir": "10_jane-doe"}]}]),
    "modelspec.author": "A. Trainer, after Jane Doe",
}
"""What kohya's trainer writes, of a LoRA made from 43 images by Jane Doe."""


def lora_that_says(path: Path, metadata: Mapping[str, str] | None) -> Path:
    """A safetensors file with this metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {"lora_unet_a.lora_down.weight": np.ones((1, 2), np.float32)}, path, None if metadata is None else {**metadata}
    )
    return path
