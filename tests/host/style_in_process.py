"""Run by a ComfyUI's Python: the blocks that show style in tiny random models, as JSON; COMFYUI REPOSITORY."""

import importlib
import json
import sys
import types

import torch

comfyui, repository = sys.argv[1:]
sys.argv = ["main.py", "--cpu"]
sys.path.insert(0, comfyui)

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.model_management  # noqa: E402
import comfy.model_patcher  # noqa: E402
import comfy.supported_models  # noqa: E402

TEXT, POOLED = 48, 32
UNET = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": [1, 1, 1],
    "channel_mult": [1, 2, 2], "transformer_depth": [0, 1, 1], "transformer_depth_output": [0, 0, 1, 1, 1, 1],
    "transformer_depth_middle": 1, "context_dim": TEXT, "num_head_channels": 32, "use_spatial_transformer": True,
    "legacy": False,
}  # fmt: skip
XL = {"use_linear_in_transformer": True, "num_classes": "sequential", "adm_in_channels": 2816}
CONFIGS = {
    "sd15": ("SD15", (1, 4, 8, 8), UNET),
    "sdxl": ("SDXL", (1, 4, 8, 8), UNET | XL),
    "flux": ("Flux", (1, 16, 8, 8), {
        "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": POOLED, "context_in_dim": TEXT,
        "hidden_size": 64, "mlp_ratio": 2.0, "num_heads": 2, "depth": 1, "depth_single_blocks": 3,
        "axes_dim": [8, 12, 12], "theta": 10000, "patch_size": 2, "qkv_bias": True, "guidance_embed": False,
    }),
    "sd3": ("SD3", (1, 16, 8, 8), {
        "in_channels": 16, "out_channels": 16, "patch_size": 2, "depth": 2, "num_blocks": 4, "input_size": None,
        "pos_embed_scaling_factor": None, "pos_embed_max_size": 8, "num_patches": 64, "adm_in_channels": POOLED,
        "context_embedder_config": {
            "target": "torch.nn.Linear", "params": {"in_features": TEXT, "out_features": 128}
        },
    }),
    "qwen": ("QwenImage", (1, 16, 1, 8, 8), {
        "image_model": "qwen_image", "in_channels": 64, "num_layers": 4, "attention_head_dim": 32,
        "num_attention_heads": 2, "joint_attention_dim": TEXT, "axes_dims_rope": (8, 12, 12),
    }),
    "pixart": ("PixArtAlpha", (1, 4, 8, 8), {
        "image_model": "pixart_alpha", "num_heads": 2, "hidden_size": 64, "depth": 2, "caption_channels": TEXT,
        "input_size": 8, "micro_condition": False,
    }),
}  # fmt: skip
NEWER = {"txt_ids_dims": []}  # what later versions of ComfyUI want of Flux


def pack_module(name):
    """A module of the pack, without what needs a server."""
    for package, path in (("pack", repository), ("pack.nodes", f"{repository}/nodes")):
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [path]
    return importlib.import_module(f"pack.nodes.host.{name}")


def tiny(name, unet_config):
    if name == "Flux" and "txt_ids_dims" in comfy.ldm.flux.model.FluxParams.__dataclass_fields__:
        unet_config = unet_config | NEWER
    config = getattr(comfy.supported_models, name)(unet_config)
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    for _, weight in sorted(model.diffusion_model.named_parameters()):
        weight.data.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


def seen(style, name, shape, unet_config):
    """The block and the shape of its activations; or why there is none."""
    model = tiny(name, unet_config)
    extractor = object.__new__(style.DiffusionStyle)
    try:
        extractor._model, extractor._block = model, style.chosen_block(model.model)
    except style.CopyScopeError as error:
        return str(error)
    with torch.inference_mode():
        first, again = (
            extractor._activations(torch.randn(shape, generator=torch.Generator().manual_seed(2))) for _ in range(2)
        )
    hooks = sum(len(module._forward_hooks) for module in model.model.modules())
    same = torch.equal(first, again) and bool(first.isfinite().all()) and bool((first[0] != first[1]).any())
    return [extractor._block.name, extractor._block.channels, list(first.shape), hooks, same]


module = pack_module("diffusion_style")
print(json.dumps({kind: seen(module, *config) for kind, config in CONFIGS.items()}))
