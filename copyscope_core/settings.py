"""The settings of an audit, shared by the nodes, the command line and the settings file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import CopyScopeError

MAX_COALITIONS = 256


class AuditSettings(BaseModel):
    """What to measure and how. Players are named by their name, their node id or their kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: int = Field(8, ge=1, le=4096, description="Seed offsets per coalition; images = seeds × the workflow's batch.")
    players: tuple[str, ...] = Field((), description="Only these components are players; all others are locked. Empty: all.")
    lock: tuple[str, ...] = Field((), description="Components that are present in every coalition.")
    baseline_checkpoint: str | None = Field(None, description="Checkpoint used where the workflow's own is absent.")
    baseline_vae: str | None = Field(None, description="VAE file used where the workflow's own VAE is absent.")
    baseline_models: dict[str, str] = Field(
        default_factory=dict,
        description="Other baselines: loader's node id → file name of the same family (UNET, CLIP).",
    )
    key_prompts: tuple[str, ...] = Field((), description="Phrases of the positive text, a player each. Empty: the whole text.")
    neutral_prompt: str = Field("", description="Text that stands where the whole positive text is absent.")
    image_players: tuple[str, ...] = Field((), description="Node ids of image loaders upstream that are players too.")
    output: str | None = Field(None, description="Node id whose image is audited, where the workflow has several outputs.")
    max_coalitions: int = Field(MAX_COALITIONS, ge=2, description="Larger games are refused before anything is sampled.")
    allow_paid_nodes: bool = Field(False, description="Run nodes that call paid services.")


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
        where = ".".join(str(part) for part in item["loc"]) or "file"
        parts.append(f"{where}: {item['msg']}")
    return "; ".join(parts)
