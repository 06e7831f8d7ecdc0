"""Planted games: workflows of the miniature zoo in which it is known whose works each component carries.

A *cast* is a prompt, a seed and four or five components. A *game* is an audit of two to five components of one cast
against works that one of them (the culprit) carries, or works of the same artist that it was not fitted on. Games of
one cast share the images of the coalitions they have in common. Everything is drawn from one seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from copyscope_core.settings import AuditSettings
from studies.graphs import painting

SIZE, STEPS, SAMPLER, SCHEDULER = 128, 3, "lcm", "sgm_uniform"
ZOO, RENOIR = "copyscope-zoo.safetensors", "copyscope-zoo-renoir.safetensors"
NO_EFFECT = "planted-no-effect"
COPY = "planted-copy-of-"
IMAGES, MANY_IMAGES = 32, 16
"""Images a coalition of games with two or three players, and with more."""
SINGLE, LARGE, TWO = 104, 24, 24
"""How many games are drawn: one culprit and two or three players; one culprit and more; two culprits."""

WORKS: dict[str, tuple[str, ...]] = {
    "arcimboldo": ("librarian", "spring"),
    "bazille": ("ramparts-at-aigues-mortes",),
    "bellini": ("pesaro-altarpiece-detail",),
    "bruegel": ("harvesters",),
    "cassatt": ("summertime",),
    "durer": ("lion",),
    "hiroshige": ("horse-mackerel-and-prawns", "inokashira-in-snow"),
    "hokusai": (
        "ejiri-in-suruga", "great-wave", "kazusa-sea-route", "oiran-and-kamuro", "poppies", "ryogoku-bridge",
        "woman-holding-a-fan",
    ),
    "kandinsky": ("composition-viii",),
    "leonardo": ("mona-lisa",),
    "renoir": ("bal-du-moulin-de-la-galette", "girls-at-the-piano"),
    "van-gogh": ("village-street-in-auvers",),
}  # fmt: skip
"""Every work of ``samples/reference``."""

HELD_OUT: dict[str, tuple[str, ...]] = {
    "arcimboldo-1": ("librarian",),
    "arcimboldo-2": ("spring",),
    "hiroshige-1": ("horse-mackerel-and-prawns",),
    "hiroshige-2": ("inokashira-in-snow",),
    "hokusai": ("ejiri-in-suruga", "oiran-and-kamuro"),
    "hokusai-2": ("great-wave", "kazusa-sea-route"),
    "hokusai-3": ("ryogoku-bridge", "woman-holding-a-fan"),
    "renoir-1": ("girls-at-the-piano",),
    "renoir-2": ("bal-du-moulin-de-la-galette",),
}
"""Works of its artist that a LoRA of the zoo was not fitted on; tools/miniature/train.py has the same table."""

LORAS = (
    *("arcimboldo-1", "arcimboldo-2", "bazille", "bellini", "cassatt", "hiroshige-1", "hiroshige-2", "hokusai"),
    *("hokusai-2", "hokusai-3", "kandinsky", "renoir-1", "renoir-2", "van-gogh"),
)
PROMPTS = (
    "a potion bottle",
    "a green car",
    "a leopard in the jungle",
    "a living room",
    "a pink dragon",
    "an astronaut",
)


@dataclass(frozen=True)
class Part:
    """One component of a cast.

    Attributes:
        kind: ``lora``, ``checkpoint`` or ``prompt``.
        name: the LoRA's or checkpoint's file, or the prompt's phrase.
        artist: whose works it carries; empty: of nobody in the references.
        strength: a LoRA's; 1 for the others.
        held_out: works of that artist that it was not fitted on.
        role: ``""``, ``low`` (a LoRA at low strength), ``copy`` (of another LoRA) or ``none`` (without effect).
    """

    kind: str
    name: str
    artist: str = ""
    strength: float = 1.0
    held_out: tuple[str, ...] = ()
    role: str = ""

    @property
    def carried(self) -> tuple[str, ...]:
        """The works of its artist that it was fitted on."""
        return tuple(work for work in WORKS.get(self.artist, ()) if work not in self.held_out)


@dataclass(frozen=True)
class Cast:
    """Components of one workflow; ``text`` holds the phrase of a prompt among them."""

    name: str
    text: str
    seed: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Game:
    """One audit whose truth is known.

    Attributes:
        name: cast, players and reference, as a file name.
        players: places in the cast's parts, in ascending order.
        culprits: those of them that carry the reference's artist.
        works: files of the reference, ``artist/work``.
        split: ``carried`` or ``held out``.
        kind: ``single``, ``large``, ``two`` or ``ladder``.
    """

    name: str
    cast: Cast
    players: tuple[int, ...]
    culprits: tuple[int, ...]
    works: tuple[str, ...]
    split: str
    kind: str
    images: int

    @property
    def parts(self) -> list[Part]:
        """The components that are players."""
        return [self.cast.parts[index] for index in self.players]

    @property
    def planted(self) -> list[float]:
        """How strongly each player carries the reference: its strength if it is a culprit, else 0."""
        return [self.cast.parts[i].strength if i in self.culprits else 0.0 for i in self.players]

    def record(self) -> dict[str, Any]:
        """The game as plain data."""
        plain = asdict(self)
        del plain["cast"]
        return {**plain, "cast": self.cast.name, "parts": [asdict(part) for part in self.parts]}

    def workflow(self) -> dict[str, Any]:
        """API format. What is no player is absent: its LoRA is not there, its phrase not in the text."""
        parts = self.parts
        checkpoint = next((part.name for part in parts if part.kind == "checkpoint"), ZOO)
        loras = {
            f"lora{index}": (f"{self.cast.parts[index].name}.safetensors", self.cast.parts[index].strength)
            for index in self.players
            if self.cast.parts[index].kind == "lora"
        }
        phrases = {part.name for part in self.cast.parts if part.kind == "prompt"}
        text = self.cast.text
        if phrases and not any(part.kind == "prompt" for part in parts):
            text = text.replace(phrases.pop() + ", ", "")
        return painting(
            checkpoint, loras, text, SIZE, "planted", seed=self.cast.seed, steps=STEPS, cfg=1.0, sampler_name=SAMPLER,
            scheduler=SCHEDULER,
        )  # fmt: skip

    def settings(self, seeds: int) -> AuditSettings:
        """What a user would set for this audit."""
        parts = self.parts
        phrases = tuple(part.name for part in parts if part.kind == "prompt")
        checkpoint = next((part.name for part in parts if part.kind == "checkpoint"), None)
        return AuditSettings(
            seeds=seeds,
            key_prompts=phrases,
            lock=() if phrases else ("prompt",),
            baseline_checkpoint=None if checkpoint is None else (RENOIR if checkpoint == ZOO else ZOO),
        )


def lora(name: str, strength: float, role: str = "") -> Part:
    """A LoRA of the zoo."""
    artist = name.rstrip("-123")
    return Part("lora", f"copyscope-zoo-{name}", artist, strength, HELD_OUT.get(name, ()), role)


def copy_of(part: Part) -> Part:
    """The same LoRA under another name."""
    return Part(part.kind, f"{COPY}{part.name}", part.artist, part.strength, part.held_out, "copy")


def without_effect() -> Part:
    """A LoRA whose weights are zero."""
    return Part("lora", NO_EFFECT, role="none")


def draw_casts(seed: int) -> list[Cast]:
    """Six casts: three LoRAs and one without effect; LoRAs and a copy; an innocent checkpoint and a low LoRA; a
    checkpoint that carries Renoir, with his LoRA; a key prompt among LoRAs; five LoRAs; and a key prompt with the
    checkpoint that knows it.
    """
    rng = np.random.default_rng([seed, 1])
    prompts = [str(prompt) for prompt in rng.permutation(PROMPTS)]

    def draw(count: int, strengths: tuple[float, ...], but: tuple[str, ...] = ()) -> list[Part]:
        found: list[Part] = []
        for name in rng.permutation(LORAS):
            part = lora(str(name), float(rng.choice(strengths)))
            if part.artist not in {*but, *(other.artist for other in found)}:
                found.append(part)
        return found[:count]

    def cast(name: str, text: str, parts: list[Part]) -> Cast:
        order = rng.permutation(len(parts))
        return Cast(name, text, int(rng.integers(1 << 40)), tuple(parts[i] for i in order))

    usual = (0.6, 0.8, 1.0)
    casts = [cast("none", prompts[0], [*draw(3, usual), without_effect()])]
    first, second, third = draw(3, usual)
    casts.append(cast("copy", prompts[1], [first, second, third, copy_of(second)]))
    *mains, last = draw(3, usual, ("renoir",))
    low = replace(last, strength=0.2, role="low")
    casts.append(cast("innocent-checkpoint", prompts[2], [*mains, low, Part("checkpoint", ZOO)]))
    renoir = lora(str(rng.choice(["renoir-1", "renoir-2"])), 0.6)
    guilty = Part("checkpoint", RENOIR, "renoir")
    casts.append(cast("checkpoint", prompts[3], [guilty, renoir, *draw(2, usual, ("renoir",))]))
    leonardo = Part("prompt", "mona lisa", "leonardo")
    (main,) = draw(1, (0.6,))
    lows = [replace(part, role="low") for part in draw(2, (0.2, 0.3), (main.artist,))]
    casts.append(cast("prompt", "mona lisa, highly detailed, masterpiece", [leonardo, main, *lows]))
    casts.append(cast("five", prompts[4], draw(5, (0.5, 0.7))))
    durer = Part("prompt", "lion by albrecht durer", "durer")
    parts = [durer, Part("checkpoint", ZOO, "durer"), *draw(1, (0.4,))]
    casts.append(cast("prompt-and-checkpoint", "lion by albrecht durer, highly detailed, masterpiece", parts))
    return casts


def possible_games(cast: Cast) -> Iterator[Game]:
    """Every game of a cast with two players or more, and with at least one innocent."""
    for size in range(2, len(cast.parts) + 1):
        for players in itertools.combinations(range(len(cast.parts)), size):
            references = {}
            for index in players:
                part = cast.parts[index]
                if part.artist and part.role != "low":
                    references[part.artist, "carried", part.carried] = None
                    if part.held_out:
                        references[part.artist, "held out", part.held_out] = None
            for artist, split, works in references:
                culprits = tuple(i for i in players if cast.parts[i].artist == artist)
                if len(culprits) == size or {cast.parts[i].name for i in culprits} == {ZOO}:
                    continue  # nobody innocent, or a checkpoint without the words that call for the work
                if any((split == "carried") != (set(works) <= set(cast.parts[i].carried)) for i in culprits):
                    continue  # culprits that do not share these works
                kind = "two" if len(culprits) > 1 else "single" if size <= 3 else "large"
                images = IMAGES if size <= 3 else MANY_IMAGES
                files = tuple(f"{artist}/{work}" for work in works)
                letters = "".join(str(i) for i in players)
                name = f"{cast.name}.{letters}.{artist}.{split.replace(' ', '-')}"
                yield Game(name, cast, players, culprits, files, split, kind, images)


def ladders(seed: int) -> list[Game]:
    """One LoRA at growing strengths beside an innocent one, for three artists."""
    rng = np.random.default_rng([seed, 2])
    offset, innocent = int(rng.integers(1 << 40)), lora("bellini", 0.4)
    found = []
    for name in ("hokusai", "van-gogh", "arcimboldo-1"):
        for strength in (0.2, 0.4, 0.6, 0.8, 1.0):
            part = lora(name, strength)
            cast = Cast(f"ladder-{name}-{strength}", PROMPTS[5], offset, (innocent, part))
            works = tuple(f"{part.artist}/{work}" for work in part.carried)
            found.append(Game(cast.name, cast, (0, 1), (1,), works, "carried", "ladder", 8))
    return found


def draw_games(seed: int) -> list[Game]:
    """All games, those of one cast together; the casts take turns in giving one of each kind."""
    rng = np.random.default_rng([seed, 3])
    pools = [list(possible_games(cast)) for cast in draw_casts(seed)]
    chosen: set[str] = set()
    for kind, count in (("single", SINGLE), ("large", LARGE), ("two", TWO)):
        names = [list(rng.permutation([game.name for game in pool if game.kind == kind])) for pool in pools]
        turns = [name for turn in itertools.zip_longest(*names) for name in turn if name is not None]
        chosen.update(turns[:count])
    return [*(game for pool in pools for game in pool if game.name in chosen), *ladders(seed)]


def loras_to_copy(games: list[Game]) -> set[str]:
    """Names of LoRAs that a game has under another name."""
    return {p.name.removeprefix(COPY) for game in games for p in game.parts if p.role == "copy"}
