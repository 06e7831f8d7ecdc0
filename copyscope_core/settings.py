"""The settings of an audit, shared by the nodes, the command line and the settings file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .distances.registry import DistanceName
from .errors import CopyScopeError, describe
from .game.design import Estimator
from .metadata.names import Name

MAX_COALITIONS = 256
MOST_ARTISTS, LONGEST_ARTIST = 64, 200
AUTO = "auto"
"""A group of this name without players: copies of one model join, each set as a group."""


class AuditSettings(BaseModel):
    """What to measure and how. Players are named by their name, their node id or their kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: int = Field(
        8, ge=1, le=4096, description="Seed offsets per coalition; images = seeds × the workflow's batch."
    )
    players: tuple[str, ...] = Field(
        default=(), description="Only these components are players; all others are locked. Empty: all."
    )
    lock: tuple[str, ...] = Field(default=(), description="Components that are present in every coalition.")
    baseline_checkpoint: str | None = Field(
        default=None, description="Checkpoint used where the workflow's own is absent."
    )
    baseline_vae: str | None = Field(default=None, description="VAE file used where the workflow's own VAE is absent.")
    baseline_models: dict[str, str] = Field(
        default_factory=dict,
        description="Other baselines: loader's node id → file name of the same family (UNET, CLIP).",
    )
    key_prompts: tuple[str, ...] = Field(
        default=(), description="Phrases of the positive text, a player each. Empty: the whole text."
    )
    neutral_prompt: str = Field(default="", description="Text that stands where the whole positive text is absent.")
    image_players: tuple[str, ...] = Field(
        default=(), description="Node ids of image loaders upstream that are players too."
    )
    output: str | None = Field(
        default=None, description="Node id whose image is audited, where the workflow has several outputs."
    )
    max_coalitions: int = Field(
        default=MAX_COALITIONS, ge=2, description="Larger games are refused before anything is sampled."
    )
    distance: DistanceName = Field(default="fid", description="What the value of a coalition is made of.")
    budget: int | None = Field(
        default=None,
        ge=4,
        description="At most so many coalitions are run: a sample, where the exact value needs more.",
    )
    target_width: float | None = Field(
        default=None, gt=0, le=2, description="Sampling stops when no share's 95% interval is wider. Needs a budget."
    )
    estimator: Estimator = Field(
        default="regression", description="How contributions follow from a sample of coalitions."
    )
    groups: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Players that join together (all models of one author): name → players. Gives the Owen value. "
        "auto: copies of one model join.",
    )
    frames: int = Field(
        default=8, ge=0, le=4096, description="Of a video, evenly spaced frames of each clip are measured. 0: all."
    )
    artists: tuple[str, ...] = Field(
        default=(),
        description="The artist's name, a pen name, or another word to look for in what model files say of themselves.",
    )
    until_sure: bool = Field(
        default=False, description="Add seeds in rounds, and stop as soon as the verdict is decided, or cannot be."
    )
    error: float = Field(
        default=0.05,
        gt=0,
        le=0.5,
        description="How often all looks of an audit until it is sure may together name a wrong component.",
    )
    max_runs: int | None = Field(
        default=None,
        ge=1,
        description="Budget of an audit until it is sure, in prompts; seeds are then as many as it allows. Else it is "
        "seeds × coalitions.",
    )
    allow_paid_nodes: bool = Field(default=False, description="Run nodes that call paid services.")

    @field_validator("players", "lock", "key_prompts", "image_players", "artists")
    @classmethod
    def _not_blank(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(item.strip() for item in value):
            raise ValueError("an entry is blank")
        return tuple(item.strip() for item in value)

    @field_validator("artists")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) > MOST_ARTISTS or any(len(item) > LONGEST_ARTIST for item in value):
            raise ValueError(f"at most {MOST_ARTISTS} names of {LONGEST_ARTIST} characters can be looked for")
        for item in value:
            Name(item)
        return value

    @model_validator(mode="after")
    def _fits(self) -> AuditSettings:
        if self.target_width is not None and self.budget is None:
            raise ValueError("target_width needs a budget: how many coalitions may be run at most")
        if self.max_runs is not None and not self.until_sure:
            raise ValueError("max_runs is the budget of an audit that runs until it is sure: give until_sure too")
        if self.until_sure and self.target_width is not None:
            raise ValueError("target_width and until_sure are two reasons to stop: give one of them")
        if self.until_sure and self.distance == "fid_infinity":
            raise ValueError("fid_infinity has no intervals, so that an audit by it is never sure")
        if not all(name.strip() and (members or name == AUTO) for name, members in self.groups.items()):
            raise ValueError("a group has no name or no players")
        return self

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> AuditSettings:
        """Settings from the fields that are given.

        Raises:
            CopyScopeError: there is no such setting, or a value does not fit (named).
        """
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as error:
            raise CopyScopeError(f"The settings do not fit: {describe(error)}.") from error

    def over(self, base: Mapping[str, Any]) -> AuditSettings:
        """These settings, where they were given, over others.

        Raises:
            CopyScopeError: a value of ``base`` does not fit (named).
        """
        try:
            return AuditSettings.model_validate({**base, **self.model_dump(exclude_unset=True)})
        except ValidationError as error:
            raise CopyScopeError(f"The settings in the workflow do not fit: {describe(error)}.") from error


def parse_groups(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Groups of players from ``name = player, player`` each, or ``auto``.

    Raises:
        CopyScopeError: a text has another form.
    """
    groups: dict[str, tuple[str, ...]] = {}
    for text in texts:
        if text.strip() == AUTO:
            groups[AUTO] = ()
            continue
        name, _, players = text.partition("=")
        members = tuple(player.strip() for player in players.split(",") if player.strip())
        if not name.strip() or not members or name.strip() in groups:
            raise CopyScopeError(
                "A group must be NAME = PLAYER, PLAYER, each name once, such as Jane = style-a, style-b; or auto, for "
                "copies of one model."
            )
        groups[name.strip()] = members
    return groups


def lines(text: Any) -> tuple[str, ...]:
    """The lines of a text that hold something."""
    return tuple(line.strip() for line in str(text).splitlines() if line.strip())


def words_of(text: Any) -> tuple[str, ...]:
    """The parts of a text that hold something, between semicolons or line ends."""
    return tuple(part.strip() for line in str(text).splitlines() for part in line.split(";") if part.strip())


def load_settings(path: Path) -> AuditSettings:
    """Read a JSON settings file.

    Raises:
        CopyScopeError: the file is missing, is not JSON, or has a field that does not fit (named).
    """
    try:
        return AuditSettings.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CopyScopeError(f"The settings file {path} cannot be read ({error.strerror}); check its name.") from error
    except ValidationError as error:
        raise CopyScopeError(f"The settings file {path} does not fit: {describe(error)}.") from error
    except UnicodeDecodeError as error:
        raise CopyScopeError(f"The settings file {path} is not UTF-8 text; save it as UTF-8.") from error
