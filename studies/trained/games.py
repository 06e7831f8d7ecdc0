"""Games of the style zoo: workflows in which it is known whose works a component learned from.

A *cast* is one workflow of two to six components. A *game* is a question about some of its components: which of them
brings the images nearer to these works? The works are by an artist from whom a component learned, but never the works
that it learned from; or by an artist from whom none of them learned, and then the right answer is none. Games of one
cast share images. Nothing is drawn by chance but the order of the works and the seeds of the images.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from copyscope_core.settings import AuditSettings
from studies.graphs import painting
from tools.style_zoo.pictures import models, splits, table

SIZE, STEPS, CFG, SAMPLER, SCHEDULER = 96, 5, 2.0, "dpmpp_2m", "normal"
BASE = "style-base.safetensors"
IMAGES, FEW_IMAGES, TWICE_IMAGES, MANY_IMAGES = 16, 8, 32, 64
REFERENCES = (1, 2, 5, 8)
CONTROLS = 24
"""At most so many works are the control of a game: all works of the control's artists, and others' by turns."""
LEARNED = {model.name: model.splits for model in models()}


@dataclass(frozen=True)
class Part:
    """One component of a cast.

    Attributes:
        kind: ``lora``, ``checkpoint`` or ``prompt``.
        name: the model's name in the zoo, or the prompt's phrase.
        splits: what it learned from; empty: from no artist in question.
        strength: a LoRA's.
    """

    kind: str
    name: str
    splits: tuple[str, ...] = ()
    strength: float = 1.0

    @property
    def artists(self) -> set[str]:
        """Artists from whom it learned."""
        return {split.rpartition("-")[0] for split in self.splits}


@dataclass(frozen=True)
class Cast:
    """One workflow.

    Attributes:
        unit: artist and split that it is about; games of one unit count as one in intervals.
        text: what the prompt says without the phrase that is a component.
        absent: the artist from whom no component learned, for games without a culprit; empty: there is none.
        kind: ``main``, ``two``, ``loud``, ``checkpoint``, ``word``, ``many``, ``ladder`` or ``long``; of the second
            run ``main``, ``copy`` or ``blend``.
        run: 0, or 1 for a cast of the second run; the seeds of images and the order of works follow it.
    """

    name: str
    unit: str
    kind: str
    text: str
    parts: tuple[Part, ...]
    absent: str = ""
    images: int = IMAGES
    run: int = 0

    @property
    def letters(self) -> list[int]:
        """What the seeds of its images and the order of works are drawn from."""
        return [ord(letter) for letter in self.unit + (str(self.run) if self.run else "")]

    @property
    def tunes(self) -> bool:
        """Whether settings were chosen with it: it is about Hokusai."""
        return self.unit.startswith("hokusai")

    def workflow(self) -> dict[str, Any]:
        """API format, with all components."""
        name = next((part.name for part in self.parts if part.kind == "checkpoint"), None)
        loras = {
            f"lora{index}": (f"style-{part.name}.safetensors", part.strength)
            for index, part in enumerate(self.parts)
            if part.kind == "lora"
        }
        phrase = "".join(f" {part.name}" for part in self.parts if part.kind == "prompt")
        seed = int(np.random.default_rng(self.letters).integers(1 << 40))
        return painting(
            f"style-{name}.safetensors" if name else BASE, loras, self.text + phrase, SIZE, "trained", seed=seed,
            steps=STEPS, cfg=CFG, sampler_name=SAMPLER, scheduler=SCHEDULER,
        )  # fmt: skip

    def settings(self) -> AuditSettings:
        """What a user would set for this audit."""
        phrases = tuple(part.name for part in self.parts if part.kind == "prompt")
        return AuditSettings(
            seeds=self.images,
            key_prompts=phrases,
            lock=() if phrases else ("prompt",),
            baseline_checkpoint=BASE if any(part.kind == "checkpoint" for part in self.parts) else None,
        )


@dataclass(frozen=True)
class Game:
    """One question whose answer is known.

    Attributes:
        name: cast, components and artist.
        players: places in the cast's parts, in ascending order; the other parts are absent.
        artist: by whom the reference is.
        works: the reference, at most so many as ``REFERENCES`` has; shorter references are its beginning.
        culprits: players that learned from this artist, and from none of these works; empty: nobody did.
        kind: the cast's, but ``none`` where there is no culprit.
    """

    name: str
    cast: Cast
    players: tuple[int, ...]
    artist: str
    works: tuple[str, ...]
    culprits: tuple[int, ...]
    kind: str

    @property
    def parts(self) -> list[Part]:
        """The components that are players."""
        return [self.cast.parts[index] for index in self.players]

    def record(self) -> dict[str, Any]:
        """The game as plain data."""
        plain = asdict(self)
        del plain["cast"]
        parts = [asdict(part) for part in self.parts]
        return {**plain, "cast": self.cast.name, "unit": self.cast.unit, "tunes": self.cast.tunes, "parts": parts}


def lora(name: str, strength: float = 0.8) -> Part:
    """A LoRA of the zoo."""
    return Part("lora", name, LEARNED.get(name, ()), strength)


def phrase(words: str, *learned: str) -> Part:
    """Words of the prompt; ``learned``: the splits that they call up."""
    return Part("prompt", words, learned)


MAIN = (
    # culprit     rival           third         text           phrase    nobody's
    ("hokusai-1", "lordbob-3", "random", "a woman", "city", "johann"),
    ("hokusai-2", "kitty-1", "none", "a landscape", "", "valkier"),
    ("hokusai-3", "johann-2", "control-1", "a city", "", "lordbob"),
    ("kitty-1", "lordbob-1", "random", "a woman", "city", "valkier"),
    ("kitty-2", "lordbob-3", "control-1", "a landscape", "", "johann"),
    ("kitty-3", "lordbob-1", "none", "an animal", "", "blarumyrran"),
    ("lordbob-1", "kitty-2", "random", "a warrior", "pattern", "johann"),
    ("lordbob-2", "kitty-3", "control-1", "a man", "", "valkier"),
    ("lordbob-3", "kitty-1", "none", "a city", "", "valkier"),
    ("valkier-1", "kitty-2", "random", "a man", "flower", "lordbob"),
    ("valkier-2", "lordbob-2", "none", "a warrior", "", "kitty"),
    ("johann-1", "lordbob-3", "random", "a landscape", "", "kitty"),
    ("johann-2", "blarumyrran-1", "control-1", "a room", "woman", "kitty"),
    ("blarumyrran-1", "lordbob-3", "random", "a city", "", "kitty"),
)
"""Rivals learned from works that show what the culprit's held-out works show, wherever there are such."""
LOUD = (("kitty-2", "valkier-1"), ("lordbob-2", "kitty-3"), ("valkier-2", "lordbob-2"), ("johann-1", "lordbob-3"),
        ("blarumyrran-1", "lordbob-3"))  # fmt: skip
LONG = (("kitty-1", "lordbob-1"), ("lordbob-2", "kitty-3"), ("valkier-1", "kitty-2"), ("johann-1", "lordbob-3"))
"""Casts with so many images that intervals from 16 of them can be checked."""
LADDER = ("hokusai-1", "kitty-2", "lordbob-2", "valkier-2", "johann-1", "blarumyrran-1")
STRENGTHS = (0.25, 0.5, 0.75, 1.0)


AGAIN = (
    # components, the first of which is the unit         text           nobody's       images
    (("kitty-1", "lordbob-1", "valkier-1"), "a woman", "blarumyrran", IMAGES),
    (("kitty-2", "valkier-2", "johann-2"), "a landscape", "lordbob", IMAGES),
    (("lordbob-1", "johann-2", "kitty-2"), "a warrior", "valkier", IMAGES),
    (("valkier-1", "johann-2", "kitty-2"), "a man", "lordbob", IMAGES),
    (("valkier-2", "kitty-1", "lordbob-1"), "a city", "blarumyrran", IMAGES),
    (("johann-2", "lordbob-1", "valkier-2"), "an animal", "kitty", IMAGES),
    (("kitty-1", "johann-2"), "a man", "lordbob", TWICE_IMAGES),
    (("kitty-2", "lordbob-1"), "a warrior", "johann", TWICE_IMAGES),
    (("lordbob-1", "valkier-2"), "a landscape", "kitty", TWICE_IMAGES),
    (("valkier-1", "kitty-2"), "a woman", "johann", TWICE_IMAGES),
    (("johann-2", "valkier-1"), "a room", "kitty", TWICE_IMAGES),
)
"""The second run: models that passed the gates, in other company, with no thought of what their works show."""
COPIES = ((("kitty-1", "noisy", "valkier-2"), "a man"), (("noisy", "kitty-1", "lordbob-1"), "a woman"))
"""The second is the first with noise of a twentieth, or the other way round."""
BLENDS = ((("blend-hokusai-valkier", "kitty-1"), "valkier-1", "a landscape", "johann"),
          (("blend-kitty-lordbob", "johann-2"), "kitty-2", "a warrior", "valkier"))  # fmt: skip


def casts(run: int = 0) -> list[Cast]:
    """All casts of a run; of the first one those that tune first."""
    return again() if run else first()


def again() -> list[Cast]:
    """The casts of the second run."""
    found = []
    for names, text, absent, images in AGAIN:
        name = f"again-{'-'.join(names)}"
        found.append(Cast(name, names[0], "main", text, tuple(lora(part) for part in names), absent, images, 1))
    for names, text in COPIES:
        parts = tuple(Part("lora", name, LEARNED.get(name, LEARNED["kitty-1"]), 0.8) for name in names)
        found.append(Cast(f"again-copy-{names[0]}", "kitty-1", "copy", text, parts, run=1))
    for names, unit, text, absent in BLENDS:
        found.append(Cast(f"again-{names[0]}", unit, "blend", text, tuple(map(lora, names)), absent, run=1))
    return found


def first() -> list[Cast]:
    """The casts of the first run, those that tune first."""
    found = []
    for culprit, rival, third, text, words, absent in MAIN:
        parts = [lora(culprit), lora(rival), lora(third)]
        if words:
            parts.append(phrase(words))
        found.append(Cast(f"main-{culprit}", culprit, "main", text, tuple(parts), absent))
    for unit, others, text in (
        ("kitty-1", ("kitty-1", "kitty-2", "valkier-1"), "a woman"),
        ("lordbob-1", ("lordbob-1", "lordbob-2", "kitty-3"), "a man"),
        ("lordbob-2", ("lordbob-1", "blend-kitty-lordbob", "johann-1"), "an animal"),
    ):
        found.append(Cast(f"two-{unit}", unit, "two", text, tuple(lora(name, 0.7) for name in others)))
    for culprit, loud in LOUD:
        found.append(
            Cast(f"loud-{culprit}", culprit, "loud", "a woman", (lora(culprit, 0.4), lora(loud, 1.2)), "hokusai")
        )
    for tuned, unit, others in (
        ("kitty-2-tuned", "kitty-2", ("valkier-1", "none")),
        ("lordbob-1-tuned", "lordbob-1", ("kitty-3", "johann-1")),
    ):
        parts = [Part("checkpoint", tuned, LEARNED[tuned]), *(lora(name) for name in others)]
        found.append(Cast(f"checkpoint-{unit}", unit, "checkpoint", "a landscape", tuple(parts), "hokusai"))
    for artist, rival in (("kitty", "valkier-2"), ("lordbob", "johann-2")):
        word, words = lora(f"{artist}-1-word"), phrase(f"in the style of {artist}", f"{artist}-1")
        found.append(Cast(f"word-{artist}-1", f"{artist}-1", "word", "a woman", (word, words, lora(rival)), "hokusai"))
    for culprit, strength in itertools.product(LADDER, STRENGTHS):
        parts = [lora(culprit, strength), lora("control-1", 0.6)]
        found.append(
            Cast(f"ladder-{culprit}-{strength}", culprit, "ladder", "a woman", tuple(parts), images=FEW_IMAGES)
        )
    six = tuple(lora(name, 0.6) for name in ("kitty-2", "lordbob-2", "valkier-2", "johann-1", "none"))
    found.append(Cast("many", "many", "many", "a man", (*six, phrase("pattern")), "blarumyrran", FEW_IMAGES))
    for culprit, rival in LONG:
        parts = [lora(culprit), lora(rival)]
        found.append(Cast(f"long-{culprit}", culprit, "long", "a woman", tuple(parts), images=MANY_IMAGES))
    return sorted(found, key=lambda cast: not cast.tunes)


def _held(artist: str, parts: list[Part]) -> set[str]:
    """Works of an artist that none of these parts learned from."""
    known, works = splits(), {row["id"] for row in table("works")["works"] if row["artist"] == artist}
    return works - {work for part in parts for split in part.splits if split in known for work in known[split].train}


def _order(works: set[str], cast: Cast, artist: str) -> tuple[str, ...]:
    """The first works of a reference, in an order that the cast's unit and the artist settle."""
    rng = np.random.default_rng([*cast.letters, *map(ord, artist)])
    return tuple(str(work) for work in rng.permutation(sorted(works))[: REFERENCES[-1]])


def games(run: int = 0) -> list[Game]:
    """All games of a run.

    Of each cast every set of two or more components, against every artist in it, and against ``absent``.

    Left out: sets in which everybody is a culprit, and for ladders all but the ladder's own artist. Of six components
    only sets of five and six.
    """
    found = []
    for cast in casts(run):
        least = 5 if cast.kind == "many" else 2
        for size in range(least, len(cast.parts) + 1):
            for players in itertools.combinations(range(len(cast.parts)), size):
                found += _questions(cast, players)
    return found


def _questions(cast: Cast, players: tuple[int, ...]) -> Iterator[Game]:
    parts = [cast.parts[index] for index in players]
    artists = dict.fromkeys(artist for part in parts for artist in sorted(part.artists) if artist != "control")
    if cast.kind == "ladder":
        artists = dict.fromkeys([cast.unit.rpartition("-")[0]])
    for artist in [*artists, *([cast.absent] if cast.absent else [])]:
        culprits = tuple(index for index in players if artist in cast.parts[index].artists)
        if len(culprits) == len(players) and cast.kind != "word":
            continue
        if cast.kind == "word" and len(culprits) == 1:
            continue  # the word without its LoRA, or the LoRA without its word, does nothing
        works = _order(_held(artist, list(cast.parts)), cast, artist)
        letters = "".join(str(index) for index in players)
        two = len(culprits) > 1 and cast.kind not in ("word", "copy")
        kind = "none" if not culprits else "two" if two else cast.kind
        yield Game(f"{cast.name}.{letters}.{artist}", cast, players, artist, works, culprits, kind)


def control_works(game: Game) -> tuple[str, ...]:
    """The works that are a game's control: of artists whom neither the cast nor the reference has to do with."""
    out = {artist for part in game.cast.parts for artist in part.artists - {"control"}} | {game.artist}
    trained = {work for part in game.cast.parts for name in part.splits for work in splits()[name].train}
    rows = [row for row in table("works")["works"] if row["artist"] not in out and row["id"] not in trained]
    roles = table("works")["artists"]
    chosen = [row["id"] for row in rows if roles[row["artist"]]["role"] == "control"]
    rng = np.random.default_rng([*game.cast.letters, *map(ord, game.artist + "control")])
    others = [
        [row["id"] for row in rows if row["artist"] == artist]
        for artist, role in roles.items()
        if role["role"] != "control"
    ]
    turns = itertools.zip_longest(*(rng.permutation(names) for names in others if names))
    chosen += [str(name) for turn in turns for name in turn if name is not None]
    return tuple(chosen[:CONTROLS])
