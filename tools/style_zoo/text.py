"""Captions, and what ComfyUI's CLIPTextEncode makes of them with the checkpoint's text encoder.

The text encoder is CLIP-L at full size with random but fixed weights (seed 0, as in all miniature models). ComfyUI's
own code turns each caption into 77 x 768 numbers, once; training then needs no text encoder.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from copyscope_core.demo.models import make_model

from .pictures import models, table
from .training import read_tensors, save_atomic

FORMS = ("{}", "a {}", "a picture of a {}")
TRIGGER = "a {} in the style of {}"

ENCODE = """
import json, sys
sys.argv, given = ["main.py", "--cpu"], sys.argv[1:]
import comfy.options; comfy.options.enable_args_parsing()
import torch, comfy.sd
from safetensors.torch import save_file
clip = comfy.sd.load_clip([given[0]], clip_type=comfy.sd.CLIPType.STABLE_DIFFUSION)
texts = json.loads(given[2])
with torch.no_grad():
    made = torch.cat([clip.encode_from_tokens(clip.tokenize(text)).float().cpu() for text in texts])
save_file({"text": made.half().contiguous()}, given[1])
"""


def words() -> list[str]:
    """The base model's words, one for each kind of picture."""
    return sorted({row["caption"] for row in table("base")["pictures"]})


def texts() -> list[str]:
    """Every text that training may use."""
    works = table("works")
    subjects = sorted({row["caption"] for row in works["works"]})
    known = list(dict.fromkeys([*words(), *subjects]))
    plain = [form.format(word) for word in known for form in FORMS]
    artists = sorted({split.rpartition("-")[0] for model in models() if model.trigger for split in model.splits})
    named = [TRIGGER.format(word, artist) for word in words() for artist in artists]
    return ["", *plain, *named]


class Texts:
    """The encoded texts."""

    def __init__(self, path: Path, device: torch.device) -> None:
        tensors, metadata = read_tensors(path)
        self.numbers = tensors["text"].to(device).float()
        self.place = {text: index for index, text in enumerate(json.loads(metadata["texts"]))}

    def __getitem__(self, text: str) -> Tensor:
        return self.numbers[self.place[text]]

    def places(self, captions: list[str]) -> Tensor:
        """Rows of some captions."""
        return torch.tensor([self.place[text] for text in captions])


def encode(path: Path, comfyui: Path) -> None:
    """Write the encoded texts, unless they are there."""
    wanted = texts()
    if path.is_file() and json.loads(read_tensors(path)[1]["texts"]) == wanted:
        return
    print(f"text: {len(wanted)} captions through ComfyUI's own CLIP", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        clip, made = Path(folder) / "clip-l.safetensors", Path(folder) / "text.safetensors"
        make_model("clip-l", clip)
        command = [comfyui / ".venv" / "bin" / "python", "-c", ENCODE, clip, made, json.dumps(wanted)]
        subprocess.run(command, check=True, cwd=comfyui)
        save_atomic(path, read_tensors(made)[0], {"texts": json.dumps(wanted)})
