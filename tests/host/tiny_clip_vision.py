"""A custom node for tests on a real ComfyUI: tiny random models of each kind that it loads as CLIP-vision."""

import json
import tempfile
from pathlib import Path

import torch
from comfy.clip_vision import ClipVisionModel

TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_channels": 3,
}
NORMAL = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
CONFIGS = {
    "clip": {**TOWER, "model_type": "clip_vision_model", "hidden_act": "quick_gelu", "image_size": 32, "patch_size": 8,
             "projection_dim": 24},
    "siglip": {**TOWER, "model_type": "siglip_vision_model", "hidden_act": "gelu_pytorch_tanh", "image_size": 32,
               "patch_size": 8},
    "dinov2": {**TOWER, "model_type": "dinov2", "layer_norm_eps": 1e-6, "use_swiglu_ffn": False, "image_size": 518},
}  # fmt: skip


class CopyScopeTestClipVision:
    CATEGORY = "test"
    RETURN_TYPES = ("CLIP_VISION",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"clip_name": ("STRING", {"default": ""}), "kind": (list(CONFIGS),), "seed": ("INT", {})}}

    def load(self, clip_name, kind, seed):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "config.json"
            path.write_text(json.dumps({**CONFIGS[kind], **NORMAL}), encoding="utf-8")
            model = ClipVisionModel(path)
        generator = torch.Generator().manual_seed(seed)
        weights = model.get_sd()
        model.load_sd({name: torch.randn(weights[name].shape, generator=generator) * 0.2 for name in sorted(weights)})
        return (model,)


NODE_CLASS_MAPPINGS = {"CopyScopeTestClipVision": CopyScopeTestClipVision}
