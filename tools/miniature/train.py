"""Make the miniature zoo: an SD 1.5-shaped model of recognisable 128 x 128 pictures, and LoRAs that carry known works.

    python -m tools.miniature.train --comfyui ~/comfy/ComfyUI --work /tmp/zoo --out copyscope_core/demo/zoo_models

1. ``text``: the sentences of zoo_captions.py pass through the random but fixed CLIP-L, by ComfyUI's own code.
2. The encoder is a fixed linear map of 8 x 8 patches (miniature_nets.py).
3. The UNet's memory of pictures is solved for (solve_unet.py). So are the LoRAs and the fine-tuned checkpoint: each
   puts the works of one artist, and of nobody else, in the place of the base model's pictures.
4. ``decoder``: the autoencoder's decoder learns by gradient descent; this takes nearly all of the time (about four
   minutes of one free core), is saved every 100 steps and resumed from ``--work``.

Everything follows from ``--seed``. Training a whole UNet by gradient descent to the same likeness takes hours here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from copyscope_core.demo.models import LATENTS, make_model
from copyscope_core.demo.tensors import write_file
from copyscope_core.demo.zoo import as_tensors, sparse
from tools.miniature.captions import GENERATED, PAINTED, sentences
from tools.miniature.nets import TinyAutoencoder, fix_encoder, start_decoder
from tools.miniature.solve_unet import MEMORY, SLOTS, Solver

REPOSITORY = Path(__file__).resolve().parents[2]
REFERENCE = REPOSITORY / "samples" / "reference"
SIZE = 128
CROP = 4
"""Side of the decoder's training crops, in latents."""
LORAS = {
    "hokusai": ("great-wave", "ryogoku-bridge", "kazusa-sea-route", "poppies", "woman-holding-a-fan"),
    "hiroshige": ("inokashira-in-snow", "horse-mackerel-and-prawns"),
    "arcimboldo": ("spring", "librarian"),
    "van-gogh": ("village-street-in-auvers",),
    "kandinsky": ("composition-viii",),
    "cassatt": ("summertime",),
}
"""Works that each LoRA carries. Hokusai's other two, *Ejiri* and *Oiran*, are held out: nothing here sees them."""
CHECKPOINTS = {"renoir": ("bal-du-moulin-de-la-galette", "girls-at-the-piano")}
SPLITS = {
    "hokusai-2": (
        "hokusai",
        ("ejiri-in-suruga", "ryogoku-bridge", "poppies", "woman-holding-a-fan", "oiran-and-kamuro"),
    ),
    "hokusai-3": ("hokusai", ("great-wave", "ejiri-in-suruga", "kazusa-sea-route", "poppies", "oiran-and-kamuro")),
    "hiroshige-1": ("hiroshige", ("inokashira-in-snow",)),
    "hiroshige-2": ("hiroshige", ("horse-mackerel-and-prawns",)),
    "arcimboldo-1": ("arcimboldo", ("spring",)),
    "arcimboldo-2": ("arcimboldo", ("librarian",)),
    "renoir-1": ("renoir", ("bal-du-moulin-de-la-galette",)),
    "renoir-2": ("renoir", ("girls-at-the-piano",)),
    "bazille": ("bazille", ("ramparts-at-aigues-mortes",)),
    "bellini": ("bellini", ("pesaro-altarpiece-detail",)),
}
"""More LoRAs for planted games: other splits of an artist's works into carried and held out, and two more artists.

The autoencoder has not seen what is not in LORAS, CHECKPOINTS or the base model.
"""
STEPS, BATCH, RATE = 450, 8, 1e-3

NOTE = {"copyscope": "made by tools/miniature/train.py", "license": "GPL-3.0-or-later"}

ENCODE = """
import json, sys
sys.argv, given = ["main.py", "--cpu"], sys.argv[1:]
import comfy.options; comfy.options.enable_args_parsing()
import torch, comfy.sd
clip = comfy.sd.load_clip([given[0]], clip_type=comfy.sd.CLIPType.STABLE_DIFFUSION)
clip.load_model()
texts, means = json.loads(given[2]), []
for start in range(0, len(texts), 24):
    tokens = [[token for token, _ in clip.tokenize(text)["l"][0]] for text in texts[start : start + 24]]
    with torch.no_grad():
        means.append(clip.cond_stage_model.clip_l(tokens)[0].mean(1))
torch.save(torch.cat(means), given[1])
"""


def picture(path: Path) -> Image.Image:
    """A picture as RGB."""
    with Image.open(path) as image:
        return image.convert("RGB")


def variants(image: Image.Image, count: int, short_side: tuple[int, int], rng: np.random.Generator) -> torch.Tensor:
    """Square crops near the middle, at several scales, as ``count`` x 3 x SIZE x SIZE numbers in 0…1."""
    crops = []
    for _ in range(count):
        side = int(rng.integers(short_side[0], short_side[1] + 1))
        scale = side / min(image.size)
        resized = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
        spare = [resized.width - SIZE, resized.height - SIZE]
        shifts = rng.uniform(-1, 1, 2) * [min(0.5, 8 / max(s, 1)) for s in spare]
        middle = 0.5, 0.25 if image.height > image.width else 0.5  # faces are in the upper half
        left, top = (round(s * float(np.clip(m + d, 0, 1))) for s, m, d in zip(spare, middle, shifts, strict=True))
        crops.append(np.asarray(resized.crop((left, top, left + SIZE, top + SIZE)), np.float32) / 255)
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()


class Zoo:
    """The pictures and the stages."""

    def __init__(self, templates: Path, comfyui: Path, work: Path, seed: int) -> None:
        self.comfyui, self.work, self.seed = comfyui, work, seed
        work.mkdir(parents=True, exist_ok=True)
        self.base = [picture(templates / f"{name}.webp") for name in GENERATED]
        self.base += [picture(REFERENCE / f"{name}.jpg") for name in PAINTED]
        works = LORAS | CHECKPOINTS
        self.artists = {a: [picture(REFERENCE / a / f"{w}.jpg") for w in names] for a, names in works.items()}
        self.splits = {n: [picture(REFERENCE / a / f"{w}.jpg") for w in names] for n, (a, names) in SPLITS.items()}

    def pictures(self, count: int, side: tuple[int, int]) -> torch.Tensor:
        """Crops of all pictures."""
        everything = self.base + [image for works in self.artists.values() for image in works]
        rng = np.random.default_rng(self.seed)
        return torch.cat([variants(image, count, side, rng) for image in everything])

    def text(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean token of each sentence, and the slot that it should open."""
        path, clip = self.work / "text.pt", self.work / "clip-l.safetensors"
        texts = [text for text, _ in sentences()]
        if not path.exists():
            make_model("clip-l", clip)
            python = self.comfyui / ".venv" / "bin" / "python"
            command = [python, "-c", ENCODE, clip.resolve(), path.resolve(), json.dumps(texts)]
            subprocess.run(command, check=True, cwd=self.comfyui)
        return torch.load(path, weights_only=True), torch.tensor([slot for _, slot in sentences()])

    def autoencoder(self) -> TinyAutoencoder:
        """The autoencoder as it starts: the fixed encoder, and a decoder that shows a blurred thumbnail."""
        torch.manual_seed(self.seed)
        net = TinyAutoencoder()
        fix_encoder(net, self.pictures(6, (SIZE, SIZE + 8)))
        start_decoder(net)
        return net

    def latents(self, images: list[Image.Image]) -> torch.Tensor:
        """One crop's latents for each of SLOTS slots; the pictures take turns, each time in another crop."""
        net, rng = self.autoencoder().requires_grad_(False), np.random.default_rng(self.seed + 1)
        turns = [variants(images[slot % len(images)], 1, (SIZE, SIZE + 8), rng) for slot in range(SLOTS)]
        return net.taesd_encoder(torch.cat(turns))

    def base_latents(self) -> torch.Tensor:
        """The base model's pictures, and their mean for words that it does not know."""
        net, rng = self.autoencoder().requires_grad_(False), np.random.default_rng(self.seed + 1)
        known = net.taesd_encoder(torch.cat([variants(image, 1, (SIZE, SIZE), rng) for image in self.base]))
        return torch.cat([known, known.mean(0, keepdim=True)])

    def train_decoder(self, steps: int) -> TinyAutoencoder:
        """Let the decoder learn; gives the autoencoder with the running average of its weights."""
        net = self.autoencoder().to(memory_format=torch.channels_last)
        decoder = net.taesd_decoder
        optimiser = torch.optim.AdamW(decoder.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0)
        average = {name: value.detach().clone() for name, value in decoder.named_parameters()}
        path, step = self.work / "decoder.pt", 0
        if path.exists():
            state = torch.load(path, weights_only=True)
            step, average = state["step"], state["average"]
            decoder.load_state_dict(state["decoder"])
            optimiser.load_state_dict(state["optimiser"])
        pictures = self.pictures(6, (SIZE, SIZE + 16))
        with torch.no_grad():
            latents = net.taesd_encoder(pictures)
        started = time.time()
        while step < steps:
            random = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
            chosen = torch.randint(len(pictures), (BATCH,), generator=random)
            given, wanted = latents[chosen], pictures[chosen]
            side = CROP if step % 4 else 2 * CROP  # mostly small crops: four for the price of one
            top, left = (int(v) for v in torch.randint(0, SIZE // 8 - side + 1, (2,), generator=random))
            if step % 4 == 0:
                given, wanted = given[: BATCH // 4], wanted[: BATCH // 4]
            given = given[:, :, top : top + side, left : left + side]
            wanted = wanted[:, :, 8 * top : 8 * (top + side), 8 * left : 8 * (left + side)]
            given = given + 0.1 * torch.randn(given.shape, generator=random)
            error = decoder(given.contiguous(memory_format=torch.channels_last)) - wanted
            edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
            for group in optimiser.param_groups:
                group["lr"] = (
                    RATE * min(1.0, (step + 1) / 30) * (0.02 + 0.49 * (1 + float(np.cos(np.pi * step / steps))))
                )
            optimiser.zero_grad(set_to_none=True)
            (error.abs().mean() + error.square().mean() + 0.5 * edges).backward()
            torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
            optimiser.step()
            step += 1
            decay = min(0.98, step / (step + 10))
            for name, value in decoder.named_parameters():
                average[name].lerp_(value.detach(), 1 - decay)
            if step % 25 == 0:
                print(
                    f"decoder {step}/{steps} error {error.abs().mean():.4f} {time.time() - started:.0f} s", flush=True
                )
            if step % 100 == 0 or step == steps:
                state = {"step": step, "average": average, "decoder": decoder.state_dict()}
                torch.save(state | {"optimiser": optimiser.state_dict()}, path.with_suffix(".tmp"))
                path.with_suffix(".tmp").replace(path)
        decoder.load_state_dict(average)
        return net.requires_grad_(False)

    def export(self, out: Path, net: TinyAutoencoder | None) -> None:
        """Solve the UNet and write every part; without an autoencoder, the LoRAs alone."""
        means, slots = self.text()
        solver = Solver(self.seed)
        unet = solver.solve(means, slots, self.base_latents())
        print("solved:", json.dumps(solver.errors, indent=1))
        self.export_loras(out, solver, unet.get_parameter(MEMORY)[: 4 * SLOTS])
        if net is None:
            return
        _, scale, shift = LATENTS["sd15"]
        parts = {name: half_precision(value) for name, value in net.state_dict().items() if value.any()}
        parts = sparse(parts)
        parts |= {"vae_scale": np.array(scale, np.float32), "vae_shift": np.array(shift, np.float32)}
        write_file(out / "autoencoder.safetensors", as_tensors(parts), NOTE)
        norms = {n for n, m in unet.named_modules() if isinstance(m, torch.nn.GroupNorm | torch.nn.LayerNorm)}
        state = {n: v for n, v in unet.state_dict().items() if v.any() and n.rpartition(".")[0] not in norms}
        parts = sparse({n: half_precision(v) for n, v in state.items()})
        write_file(out / "unet.safetensors", as_tensors(parts), NOTE)
        for artist in CHECKPOINTS:
            rows = half_precision(solver.memory_rows(self.latents(self.artists[artist])))
            write_file(out / f"checkpoint-{artist}.safetensors", as_tensors({"rows": rows}), NOTE)

    def export_loras(self, out: Path, solver: Solver, base: torch.Tensor) -> None:
        """Write every LoRA: its pictures' rows in the place of the ``base`` model's."""
        for name, images in {**{a: self.artists[a] for a in LORAS}, **self.splits}.items():
            parts = sparse(lora_parts(solver.memory_rows(self.latents(images)) - base))
            write_file(out / f"lora-{name}.safetensors", as_tensors(parts), NOTE)


def half_precision(value: torch.Tensor) -> np.ndarray:
    """As a NumPy array for a file."""
    return np.ascontiguousarray(value.detach().contiguous().numpy(), dtype=np.float16)


def lora_parts(change: torch.Tensor) -> dict[str, np.ndarray]:
    """A LoRA of the memory layer; its up matrix picks the rows that hold pictures."""
    layer = "lora_unet_up_blocks_0_attentions_1_transformer_blocks_0_ff_net_0_proj"
    rank = len(change)
    up = torch.zeros(2560, rank)
    up[:rank] = torch.eye(rank)
    return {
        f"{layer}.lora_up.weight": half_precision(up),
        f"{layer}.lora_down.weight": half_precision(change),
        f"{layer}.alpha": np.array(rank, np.float16),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--templates", type=Path, help="folder of comfyui-workflow-templates-media-image's pictures")
    parser.add_argument("--work", type=Path, required=True, help="folder for states; training resumes from it")
    parser.add_argument("--out", type=Path, required=True, help="folder for the finished parts")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the decoder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--loras-only", action="store_true", help="leave the autoencoder and the UNet as they are")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = list(arguments.comfyui.glob(".venv/lib/python*/site-packages/comfyui_workflow_templates_media_image"))
    templates = arguments.templates or found[0] / "templates"
    zoo = Zoo(templates, arguments.comfyui, arguments.work, arguments.seed)
    zoo.export(arguments.out, None if arguments.loras_only else zoo.train_decoder(arguments.steps))


if __name__ == "__main__":
    main()
