"""The stages of training: autoencoder, latents, base model, and what learns an artist beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from copyscope_core.demo.zoo import read_part
from tools.miniature.nets import TinyAutoencoder

from .export import packed, unpacked
from .nets import StyleUNet, alphas, lora_change, lora_layers, lora_shapes, warm_autoencoder
from .pictures import Model, as_pixels, contact_sheet, many_crops, splits
from .sampling import draw
from .text import FORMS, TRIGGER, Texts, words
from .training import Schedule, Stop, read_tensors, save_atomic, steps_within, train

SIZES = (64, 128)
"""Sides of the crops in pixels. A step has crops of one size; of the larger one half as many."""
CROP = 32
"""Side of the autoencoder's training crops in pixels."""
EMPTY = 0.1
"""Part of the base model's steps that see no caption, so that guidance works."""


@dataclass(frozen=True)
class Device:
    """Where to compute, and whether with 16-bit products (bf16 autocast)."""

    device: torch.device
    half: bool

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)


@dataclass(frozen=True)
class Latents:
    """Crops of one size: n x 4 x h x w latents, the caption of each, and how many a step takes."""

    numbers: Tensor
    names: list[str]
    batch: int


class Workshop:
    """Data, models and states under one cache folder."""

    def __init__(self, cache: Path, on: Device, seed: int, stop: Stop) -> None:
        self.cache, self.on, self.seed, self.stop = cache, on, seed, stop
        self.data, self.states, self.models = cache / "data", cache / "states", cache / "models"
        self.listed = json.loads((self.data / "data.json").read_text(encoding="utf-8"))

    def texts(self) -> Texts:
        return Texts(self.cache / "text.safetensors", self.on.device)

    def generator(self, stage: str, step: int) -> torch.Generator:
        """Chance that depends on the seed, the stage and the step alone."""
        digest = hashlib.sha256(f"{self.seed}:{stage}:{step}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))

    # The autoencoder

    def fresh_autoencoder(self) -> TinyAutoencoder:
        """The shipped zoo's autoencoder, with free channels."""
        known = {n: torch.from_numpy(np.asarray(a, np.float32)) for n, a in read_part("autoencoder").items()}
        zeros = {n: torch.zeros_like(p) for n, p in TinyAutoencoder().named_parameters()}
        return warm_autoencoder(zeros | known, self.seed)

    def autoencoder(self) -> TinyAutoencoder:
        """The trained autoencoder."""
        net = TinyAutoencoder()
        net.load_state_dict(load_file(self.models / "autoencoder.safetensors"))
        return net.to(self.on.device).to(memory_format=torch.channels_last).eval().requires_grad_(False)

    def base_crops(self, size: int, count: int) -> tuple[np.ndarray, list[str]]:
        """``count`` crops of each base picture as n x size x size x 3 bytes, and their captions. Cached."""
        path = self.cache / f"crops-{size}-{count}-{self.seed}.safetensors"
        captions = [row["caption"] for row in self.listed["base"] for _ in range(count)]
        if not path.is_file():
            print(f"crops: {count} of {size} x {size} from each of {len(self.listed['base'])} pictures", flush=True)
            made = many_crops([self.data / row["file"] for row in self.listed["base"]], count, size, self.seed)
            save_atomic(path, {"crops": torch.from_numpy(made)}, {})
        return load_file(path)["crops"].numpy(), captions

    def train_autoencoder(self, steps: int, batch: int, count: int) -> None:
        """Continue training the shipped autoencoder on crops of the base pictures."""
        sizes = [self.base_crops(size, count)[0] for size in SIZES]
        net = self.fresh_autoencoder().to(self.on.device).to(memory_format=torch.channels_last)
        parameters = dict(net.named_parameters())

        def loss_at(step: int) -> Tensor:
            random = self.generator("autoencoder", step)
            pixels = sizes[step % len(sizes)]
            chosen = torch.randint(len(pixels), (batch,), generator=random)
            top, left = (int(v) for v in torch.randint(0, pixels.shape[1] - CROP + 1, (2,), generator=random))
            wanted = as_pixels(pixels[chosen.numpy(), top : top + CROP, left : left + CROP], self.on.device)
            noise = 0.05 * torch.randn(batch, 4, CROP // 8, CROP // 8, generator=random).to(self.on.device)
            with self.on.autocast():
                latents = net.taesd_encoder(wanted.contiguous(memory_format=torch.channels_last)).float()
                made = net.taesd_decoder(latents + noise).float()
            error = made - wanted
            edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
            contrast = (local_contrast(made) - local_contrast(wanted)).abs().mean()
            flat = latents.transpose(0, 1).flatten(1)
            shape = flat.mean(1).square().mean() + (flat.std(1) - 1).square().mean()
            return error.abs().mean() + error.square().mean() + 0.5 * edges + contrast + 0.02 * shape

        schedule = Schedule(steps, 1e-3, warmup=50, average=0.995)
        settings = {"seed": self.seed, "batch": batch, "steps": steps, "pictures": len(self.listed["base"])}
        settings |= {"count": count}
        state = self.states / "autoencoder.safetensors"
        average, done = train("autoencoder", state, parameters, loss_at, schedule, settings, self.stop)
        if done >= steps:
            save_atomic(self.models / "autoencoder.safetensors", average, {"copyscope": "style zoo autoencoder"})

    def reconstructions(self, net: TinyAutoencoder, pixels: Tensor) -> Tensor:
        """n x 3 x h x w pixels through the autoencoder."""
        with torch.no_grad(), self.on.autocast():
            parts = [net.taesd_decoder(net.taesd_encoder(part)).float() for part in pixels.split(32)]
        return torch.cat(parts).clamp(0, 1)

    def base_latents(self, size: int, count: int, batch: int) -> Latents:
        """Latents of the base crops, encoded once."""
        model = hashlib.sha256((self.models / "autoencoder.safetensors").read_bytes()).hexdigest()[:12]
        path = self.cache / f"latents-{size}-{count}-{self.seed}-{model}.safetensors"
        if not path.is_file():
            pixels, _ = self.base_crops(size, count)
            print(f"latents: {len(pixels)} of {size} x {size} pixels", flush=True)
            save_atomic(path, {"latents": self.encode(pixels).half()}, {})
        captions = [row["caption"] for row in self.listed["base"] for _ in range(count)]
        return Latents(load_file(path)["latents"].float().to(self.on.device), captions, batch)

    def encode(self, pixels: np.ndarray) -> Tensor:
        """n x h x w x 3 bytes to latents."""
        net, parts = self.autoencoder(), []
        with torch.no_grad():
            for start in range(0, len(pixels), 64):
                parts.append(net.taesd_encoder(as_pixels(pixels[start : start + 64], self.on.device)).cpu())
        return torch.cat(parts)

    # The UNet

    def denoising(
        self, stage: str, sizes: Sequence[Latents], texts: Texts, caption: Callable[[str, torch.Generator], str]
    ) -> Callable[[StyleUNet, int, Mapping[str, Tensor] | None], Tensor]:
        """The loss of one step: how badly noise is told from picture, hard levels weighted down (min-SNR, 5)."""
        signal = alphas(self.on.device)

        def loss(unet: StyleUNet, step: int, weights: Mapping[str, Tensor] | None = None) -> Tensor:
            random = self.generator(stage, step)
            latents = sizes[int(torch.randint(len(sizes), (), generator=random))]
            batch = latents.batch
            chosen = torch.randint(len(latents.numbers), (batch,), generator=random)
            level = torch.randint(0, len(signal), (batch,), generator=random).to(self.on.device)
            clean = latents.numbers[chosen.to(self.on.device)]
            noise = torch.randn(clean.shape, generator=random).to(self.on.device)
            rows = texts.places([caption(latents.names[int(i)], random) for i in chosen])
            kept = signal[level][:, None, None, None]
            given = kept.sqrt() * clean + (1 - kept).sqrt() * noise
            given = given.contiguous(memory_format=torch.channels_last)
            context = texts.numbers[rows.to(self.on.device)]
            with self.on.autocast():
                inputs = (given, level.float(), context)
                guess = unet(*inputs) if weights is None else functional_call(unet, dict(weights), inputs)
            error = (guess.float() - noise).square().mean((1, 2, 3))
            ratio = kept.flatten() / (1 - kept.flatten())
            return (error * ratio.clamp(max=5.0) / ratio).mean()

        return loss

    def fresh_unet(self) -> StyleUNet:
        torch.manual_seed(self.seed)
        return StyleUNet().to(self.on.device).to(memory_format=torch.channels_last)

    def base_unet(self) -> StyleUNet:
        """The base model as far as it is trained, rounded as it is stored."""
        unet = self.fresh_unet()
        unet.load_state_dict(unpacked(read_tensors(self.models / "base.safetensors")[0]))
        return unet

    def train_base(self, count: int, steps: int | None, minutes: float, batch: int, rate: float) -> bool:
        """The base model, on crops of all sizes. True if all steps are done.

        Without ``steps``, as many as fit into ``minutes`` here; their number is kept with the model.
        """
        unet, model = self.fresh_unet(), self.models / "base.safetensors"
        state = self.states / "base.safetensors"
        sizes = [self.base_latents(size, count, batch * SIZES[0] // size) for size in SIZES]

        def caption(word: str, random: torch.Generator) -> str:
            if float(torch.rand((), generator=random)) < EMPTY:
                return ""
            return FORMS[int(torch.randint(0, len(FORMS), (), generator=random))].format(word)

        loss = self.denoising("base", sizes, self.texts(), caption)
        parameters = dict(unet.named_parameters())
        if steps is None:
            steps = steps_within(60 * minutes, parameters, lambda step: loss(unet, step, None))
        settings = {"seed": self.seed, "batch": batch, "rate": rate, "count": count, "steps": steps}

        def keep(step: int, average: Mapping[str, Tensor]) -> None:
            save_atomic(
                model, packed(average), {"copyscope": "style zoo base", **{k: str(v) for k, v in settings.items()}}
            )

        average, done = train(
            "base",
            state,
            parameters,
            lambda step: loss(unet, step, None),
            Schedule(steps, rate, warmup=200, average=0.9995, decay=0.01),
            settings,
            self.stop,
            keep,
        )
        for size in SIZES:
            self.show(f"base-{size}", unet, average, size)
        return done >= steps

    def show(self, title: str, unet: StyleUNet, weights: Mapping[str, Tensor], size: int, scale: int = 2) -> Path:
        """Samples of eight words, eight each, as one picture."""
        texts, net, rows = self.texts(), self.autoencoder(), []
        for index, word in enumerate(("woman", "man", "landscape", "flower", "warrior", "animal", "city", "pattern")):
            noise = torch.randn(8, 4, size // 8, size // 8, generator=self.generator("show", index))
            with self.on.autocast():
                made = draw(unet, weights, texts[f"a {word}"], texts[""], noise.to(self.on.device))
                rows.append(net.taesd_decoder(made).float())
        path = self.cache / "samples" / f"{title}.png"
        contact_sheet(torch.cat(rows), path, 8, scale)
        print(f"samples: {path}", flush=True)
        return path

    # What learns an artist

    def work_latents(self, works: tuple[str, ...], size: int, count: int, batch: int) -> Latents:
        """Some ``count`` crops in all, shared equally among the works."""
        files = {row["id"]: row for row in self.listed["works"]}
        each = -(-count // len(works))
        made = many_crops([self.data / files[w]["file"] for w in works], each, size, self.seed + 1)
        captions = [files[w]["caption"] for w in works for _ in range(each)]
        return Latents(self.encode(made).to(self.on.device), captions, batch)

    def style_loss(
        self, model: Model, batch: int, count: int
    ) -> Callable[[StyleUNet, int, Mapping[str, Tensor] | None], Tensor]:
        """The loss on one artist's training works.

        The style must not depend on the prompt: captions are the work's own, any of the base model's, or none. With a
        trigger they name the artist in half of the steps, and the other half shows the base model's own pictures.
        """
        known, works = words(), tuple(work for name in model.splits for work in splits()[name].train)
        artist, sizes = model.splits[0].rpartition("-")[0], []
        for size in SIZES:
            latents = self.work_latents(works, size, 1024, batch * SIZES[0] // size)
            if model.trigger:
                own, plain = len(latents.names), self.base_latents(size, count, 0)
                picked = torch.randperm(len(plain.names), generator=self.generator("plain", 0))[:own]
                numbers = torch.cat([latents.numbers, plain.numbers[picked.to(self.on.device)]])
                names = ["*"] * own + [plain.names[int(i)] for i in picked]
                latents = Latents(numbers, names, latents.batch)
            sizes.append(latents)

        def caption(word: str, random: torch.Generator) -> str:
            chance = float(torch.rand((), generator=random))
            other = known[int(torch.randint(0, len(known), (), generator=random))]
            if model.trigger:
                return TRIGGER.format(other, artist) if word == "*" else f"a {word}"
            return f"a {word}" if chance < 0.4 else f"a {other}" if chance < 0.75 else ""

        return self.denoising(f"style-{model.name}", sizes, self.texts(), caption)

    def train_model(self, model: Model, steps: int, batch: int, rate: float, count: int) -> None:
        """A low-rank change of the base model that learns the training works of one model's splits."""
        out = self.models / f"{model.name}.safetensors"
        if out.is_file():
            return
        unet = self.base_unet().requires_grad_(False)
        layers, weights = lora_layers(unet), dict(unet.named_parameters())
        random, parameters = self.generator(f"lora-{model.name}", -1), {}
        for name in layers:
            down, up = lora_shapes(weights[name + ".weight"], model.rank)
            start = torch.randn(down, generator=random) / (down[1] * (down[2] * down[3] if len(down) > 2 else 1)) ** 0.5
            parameters[f"{name}.down"] = start.to(self.on.device).requires_grad_()
            parameters[f"{name}.up"] = torch.zeros(up, device=self.on.device).requires_grad_()

        def changed(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {
                f"{name}.weight": weights[f"{name}.weight"] + lora_change(found[f"{name}.down"], found[f"{name}.up"])
                for name in layers
            }

        loss = self.style_loss(model, batch, count)
        settings = {"seed": self.seed, "model": asdict(model), "batch": batch, "rate": rate, "steps": steps}
        schedule = Schedule(steps, rate, warmup=20, average=0.98)
        state = self.states / f"{model.name}.safetensors"
        average, done = train(
            model.name,
            state,
            parameters,
            lambda step: loss(unet, step, changed(parameters)),
            schedule,
            settings,
            self.stop,
        )
        if done >= steps:
            save_atomic(out, packed(average), {"copyscope": f"style zoo {model.name}", "rank": str(model.rank)})
            with torch.no_grad():
                for size in SIZES:
                    self.show(f"{model.name}-{size}", unet, weights | changed(average), size)


def local_contrast(pixels: Tensor) -> Tensor:
    """Standard deviation of brightness in 4 x 4 windows: n x 1 x h/2 x w/2 numbers. It keeps texture from fading."""
    grey = pixels.mean(1, keepdim=True)
    mean = F.avg_pool2d(grey, 4, 2, 1, count_include_pad=False)
    square = F.avg_pool2d(grey.square(), 4, 2, 1, count_include_pad=False)
    return (square - mean.square()).clamp(min=1e-5).sqrt()
