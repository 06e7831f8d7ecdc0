"""The settings of an audit, shared by the nodes, the command line and the settings file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .design import Estimator
from .distances import DistanceName
from .errors import CopyScopeError

MAX_COALITIONS = 256


class AuditSettings(BaseModel):
    """What to measure and how. Players are named by their name, their node id or their kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: int = Field(
        8, ge=1, le=4096, description="Seed offsets per coalition; images = seeds × the workflow's batch."
    )
    players: tuple[str, ...] = Field(
        (), description="Only these components are players; all others are locked. Empty: all."
    )
    lock: tuple[str, ...] = Field((), description="Components that are present in every coalition.")
    baseline_checkpoint: str | None = Field(None, description="Checkpoint used where the workflow's own is absent.")
    baseline_vae: str | None = Field(None, description="VAE file used where the workflow's own VAE is absent.")
    baseline_models: dict[str, str] = Field(
        default_factory=dict,
        description="Other baselines: loader's node id → file name of the same family (UNET, CLIP).",
    )
    key_prompts: tuple[str, ...] = Field(
        (), description="Phrases of the positive text, a player each. Empty: the whole text."
    )
    neutral_prompt: str = Field("", description="Text that stands where the whole positive text is absent.")
    image_players: tuple[str, ...] = Field((), description="Node ids of image loaders upstream that are players too.")
    output: str | None = Field(
        None, description="Node id whose image is audited, where the workflow has several outputs."
    )
    max_coalitions: int = Field(
        MAX_COALITIONS, ge=2, description="Larger games are refused before anything is sampled."
    )
    distance: DistanceName = Field("fid", description="What the value of a coalition is made of.")
    budget: int | None = Field(
        None, ge=4, description="At most so many coalitions are run: a sample, where the exact value needs more."
    )
    target_width: float | None = Field(
        None, gt=0, le=2, description="Sampling stops when no share's 95% interval is wider. Needs a budget."
    )
    estimator: Estimator = Field("regression", description="How contributions follow from a sample of coalitions.")
    groups: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Players that join together (all models of one author): name → players. Gives the Owen value.",
    )
    allow_paid_nodes: bool = Field(False, description="Run nodes that call paid services.")

    @field_validator("players", "lock", "key_prompts", "image_players")
    @classmethod
    def _not_blank(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(item.strip() for item in value):
            raise ValueError("an entry is blank")
        return tuple(item.strip() for item in value)

    @model_validator(mode="after")
    def _fits(self) -> AuditSettings:
        if self.target_width is not None and self.budget is None:
            raise ValueError("target_width needs a budget: how many coalitions may be run at most")
        if not all(name.strip() and members for name, members in self.groups.items()):
            raise ValueError("a group has no name or no players")
        return self

    def over(self, base: Mapping[str, Any]) -> AuditSettings:
        """These settings, where they were given, over others.

        Raises:
            CopyScopeError: a value of ``base`` does not fit (named).
        """
        try:
            return AuditSettings.model_validate({**base, **self.model_dump(exclude_unset=True)})
        except ValidationError as error:
            raise CopyScopeError(f"The settings in the workflow do not fit: {describe(error)}.") from error


NOTHING = "(none)"
"""What the choice lists of CopyScope's nodes call no choice."""


def from_players_node(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the inputs of a *CopyScope Players* node stand for; inputs that are not given are left out.

    Args:
        inputs: ``baseline_checkpoint``, ``baseline_vae`` (a name or ``(none)``), ``key_prompts``, ``only``, ``lock``,
            ``image_players`` (one a line), ``baseline_models`` (``node = file``, one a line), ``neutral_prompt``.
    """
    settings: dict[str, Any] = {}
    for name in ("baseline_checkpoint", "baseline_vae"):
        if name in inputs:
            settings[name] = None if inputs[name] == NOTHING else inputs[name]
    for name, setting in (("key_prompts", "key_prompts"), ("only", "players"), ("lock", "lock"),
                          ("image_players", "image_players")):  # fmt: skip
        if name in inputs:
            settings[setting] = lines(inputs[name])
    if "neutral_prompt" in inputs:
        settings["neutral_prompt"] = str(inputs["neutral_prompt"]).strip()
    if "baseline_models" in inputs:
        pairs = [line.partition("=") for line in lines(inputs["baseline_models"])]
        if not all(node.strip() and file.strip() for node, _, file in pairs):
            raise CopyScopeError("A line of baseline_models must be node = file, such as 12 = flux1-dev.safetensors.")
        settings["baseline_models"] = {node.strip(): file.strip() for node, _, file in pairs}
    return settings


def from_settings_node(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the inputs of a *CopyScope Settings* node stand for; inputs that are not given are left out.

    Args:
        inputs: ``budget``, ``target_width`` (0: none), ``estimator``, ``groups`` (one a line: ``name = player, …``).
    """
    settings: dict[str, Any] = {}
    for name in ("budget", "target_width"):
        if inputs.get(name):
            settings[name] = inputs[name]
    if "estimator" in inputs:
        settings["estimator"] = inputs["estimator"]
    if "groups" in inputs:
        settings["groups"] = parse_groups(lines(inputs["groups"]))
    return settings


def parse_groups(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Groups of players from ``name = player, player`` each.

    Raises:
        CopyScopeError: a text has another form.
    """
    groups: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, _, players = text.partition("=")
        members = tuple(player.strip() for player in players.split(",") if player.strip())
        if not name.strip() or not members or name.strip() in groups:
            raise CopyScopeError(
                "A group must be NAME = PLAYER, PLAYER, each name once, such as Jane = style-a, style-b."
            )
        groups[name.strip()] = members
    return groups


def lines(text: Any) -> tuple[str, ...]:
    """The lines of a text that hold something."""
    return tuple(line.strip() for line in str(text).splitlines() if line.strip())


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


def describe(error: ValidationError) -> str:
    """The first problems of a pydantic error as ``field: message`` pairs, in one line."""
    parts = []
    for item in error.errors()[:5]:
        where = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        parts.append(f"{where}: {message}" if where else message)
    return "; ".join(parts)
