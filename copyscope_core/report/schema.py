"""The report's schema: what ``report.json`` holds. ``docs/report.md`` explains each key.

``docs/report.schema.json`` is made from these models by ``tools/make_report_schema.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..distances.registry import DistanceName
from ..game.design import Estimator

SCHEMA_VERSION: Literal["1.2"] = "1.2"
STATEMENT = "similarity contribution, not a finding of infringement"

Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
"""[low, high] at 95%."""


class Record(BaseModel):
    """Base of all parts: frozen, finite numbers only, and unknown keys (of later versions) are ignored."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, extra="ignore")


class ModelFile(Record):
    """A model file that the workflow loads."""

    file: str = Field(description="File name as the workflow gives it.")
    kind: str | None = Field(default=None, description="Kind of the component that loads it.")
    sha256: str | None = Field(default=None, description="SHA-256 of the file, hex; null: not hashed.")
    autov2: str | None = Field(default=None, description="AutoV2 hash: the first ten digits of the SHA-256.")


class ComponentRecord(Record):
    name: str = Field(description="Name of the component, unique among players.")
    kind: str = Field(default="component", description="checkpoint, lora, vae, controlnet, prompt, …")
    node: str | None = Field(default=None, description="Id of its node in the workflow.")
    files: list[str] = Field(default_factory=list, description="All model files that it names; hashes are in `models`.")
    file: str | None = Field(default=None, description="Its model file (the first, where it has several).")
    sha256: str | None = Field(default=None, description="SHA-256 of that file, hex; null: not hashed.")
    autov2: str | None = Field(default=None, description="AutoV2 hash of that file.")

    @model_validator(mode="before")
    @classmethod
    def _first_file(cls, data: Any) -> Any:
        """``file`` and ``files`` may each be given alone."""
        if isinstance(data, Mapping):
            files = data.get("files") or ([data["file"]] if data.get("file") else [])
            return {**data, "files": files, "file": data.get("file") or next(iter(files), None)}
        return data


class PlayerInfo(ComponentRecord):
    """Where a player comes from."""

    absence: str | None = Field(default=None, description="What the workflow becomes when the player is absent.")


class PlayerResult(PlayerInfo):
    """A player and its contribution, in units of the distance in use (FID points). Positive: towards the reference."""

    shapley: float = Field(description="Shapley value φ of v(S).")
    shapley_interval: Interval | None = Field(
        default=None, description="95% interval of φ for this number of images; null: none, see `no_interval`."
    )
    share: float | None = Field(description="φ/Σ|φ|, signed; null where every φ is 0.")
    share_interval: Interval | None = Field(default=None, description="95% interval of the share, or null.")
    indistinguishable_from: list[str] | None = Field(
        default=None, description="Players whose φ differs by an amount whose 95% interval contains 0; null: unknown."
    )
    probability_largest: float | None = Field(
        default=None, description="How probable it is that this φ is the largest, 0…1; null: unknown."
    )
    leave_one_out: float = Field(description="v(N) − v(N∖i).")
    single: float = Field(description="v({i}) − v(∅).")
    ablation: float | None = Field(
        description="Mean distance of the coalitions without the player; where a kernel distance has one reference "
        "image, without that image's own term; null: not all coalitions were measured."
    )
    sampling_interval: Interval | None = Field(
        default=None,
        description="95% interval of φ for the choice of coalitions alone; null: all that are needed were measured.",
    )
    group: str | None = Field(default=None, description="Name of its group; null: none is grouped.")
    shapley_mean: float | None = Field(
        description="Part of φ from the distance of the mean features, ‖Δμ‖²; null unless FID is in use."
    )
    shapley_covariance: float | None = Field(
        description="Part of φ from the spread of the features; both sum to φ; null unless FID is in use."
    )
    kid_shapley: float | None = Field(description="Shapley value of the kernel-distance game (KID units), or null.")
    kid_shapley_interval: Interval | None = Field(default=None, description="Its 95% interval, or null.")
    control_shapley: float | None = Field(default=None, description="φ against the control images; null: no control.")
    control_shapley_interval: Interval | None = Field(default=None, description="Its 95% interval, or null.")
    contrast: float | None = Field(default=None, description="φ − φ against the control; null: no control.")
    contrast_interval: Interval | None = Field(default=None, description="Its 95% interval, or null.")
    no_effect: bool | None = Field(description="True: never changes a pixel; null: pixels were not compared.")


class GroupResult(Record):
    """Players that join together, such as all models of one author, and their contribution (Owen value)."""

    name: str
    members: list[str] = Field(description="Names of its players; a player that is in no group is one of its own.")
    shapley: float = Field(description="φ of the group, the sum of its members' φ.")
    shapley_interval: Interval | None = Field(default=None, description="Its 95% interval, or null.")
    share: float | None = Field(description="φ/Σ|φ| over the groups; null where all are 0.")
    share_interval: Interval | None = Field(default=None, description="Its 95% interval, or null.")


class SamplingRecord(Record):
    """How coalitions were chosen where not all were measured."""

    estimator: Estimator
    coalitions: int = Field(description="How many were measured.")
    drawn: list[int] = Field(
        description="Regression: pairs of complementary coalitions drawn of each size 1 … ⌊n/2⌋; permutation: pairs of "
        "orders. With the number of players this gives the coalitions."
    )
    of: int = Field(description="How many the exact value needs.")
    budget: int = Field(description="How many might have been measured.")
    target_width: float | None = Field(description="Width of the widest share interval to stop at; null: none.")
    width: float | None = Field(description="Width of the widest share interval that was reached.")
    stopped: Literal["budget", "target", "chance"] = Field(
        description="Why no more were run; chance: the seeds' part of the widest interval is so large that more "
        "coalitions would not narrow it."
    )


class CanaryResult(Record):
    """A coalition that was run once again at the end, past the server's cache."""

    mask: int = Field(description="Bitmask of the coalition.")
    members: list[str] = Field(description="Names of the players that are present.")
    pixel_sha256: list[str] = Field(description="SHA-256 of its pixels, image by image, at the first seed.")
    difference: int = Field(description="A channel's largest difference from its first run, 0…255.")
    holds: bool = Field(description="Whether that is no more than two runs of the full coalition differ anyhow.")


class LockedComponent(ComponentRecord):
    """A component that is present in every coalition, so that its own share was not measured."""

    reason: str = Field(default="", description="Why it is locked and how to measure it.")


class UnmeasuredComponent(ComponentRecord):
    """Something upstream that is no player, but might matter."""

    class_type: str | None = Field(default=None, description="Class of its node.")
    reason: str = Field(default="", description="What it is and why it was not measured.")

    @model_validator(mode="before")
    @classmethod
    def _named_by_what_it_is(cls, data: Any) -> Any:
        """A plan says ``what`` it found, where a component has a ``name``."""
        if isinstance(data, Mapping) and "name" not in data and "what" in data:
            return {"kind": "input", **data, "name": data["what"]}
        return data


class ImageRecord(Record):
    """One generated or reference image."""

    file: str = Field(description="File name, relative to its coalition's folder or the reference folder.")
    pixel_sha256: str | None = Field(default=None, description="SHA-256 of the decoded pixels.")
    sha256: str | None = Field(default=None, description="SHA-256 of the file.")
    seed: int | None = Field(default=None, description="Seed offset that made it; null for a reference.")
    matched_sha256: str | None = Field(
        default=None,
        description="Of a reference or control image: SHA-256 of its pixels once brought to the generated size, "
        "by which its features are stored.",
    )
    nearest: int | None = Field(
        default=None,
        description="Of a generated image: place in `reference.images` of the nearest in features.",
    )
    nearest_distance: float | None = Field(default=None, description="The Euclidean distance of those features.")


class CoalitionResult(Record):
    """A coalition and its distance to the reference."""

    members: list[str] = Field(description="Names of the players that are present.")
    mask: int = Field(description="The same as a bitmask over `players` in their order.")
    fid: float = Field(description="Fréchet Inception Distance d²(S) to the reference.")
    fid_interval: Interval | None = Field(default=None, description="95% interval for this number of images, or null.")
    fid_mean: float = Field(description="Its part ‖Δμ‖².")
    fid_covariance: float = Field(description="Its part tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½.")
    kid: float | None = Field(description="Unbiased kernel distance, may be negative; null with one image on a side.")
    distance: float | None = Field(
        default=None, description="The distance in use, d(S); null for a kernel distance to one reference image."
    )
    control_distance: float | None = Field(default=None, description="The same to the control images, or null.")
    value: float = Field(description="v(S) = d(∅) − d(S) of the distance in use.")
    images: int = Field(description="Number of images.")
    folder: str | None = Field(default=None, description="Folder of the images, relative to the report.")
    image_files: list[ImageRecord] = Field(default_factory=list, description="The images, in the order of the seeds.")


class Reference(Record):
    """The rights holder's images."""

    count: int = Field(description="Number of images.")
    images: list[ImageRecord] = Field(default_factory=list, description="Names and hashes.")
    preprocessing: dict[str, Any] = Field(default_factory=dict, description="How they were brought to size.")


class Difference(Record):
    """How far the contributions of two players are apart."""

    first: str
    second: str
    difference: float = Field(description="φ of the first − φ of the second.")
    interval: Interval | None = Field(description="Its 95% interval; null: none.")


class Interaction(Record):
    """What a set of players does together beyond what its members do apart."""

    members: list[str] = Field(description="One, two or three players.")
    sii: float = Field(description="Shapley interaction index; for one player, φ.")
    sii_interval: Interval | None = Field(default=None, description="Its 95% interval, for one or two players.")
    n_sii: float = Field(description="n-Shapley value up to order 3; those of all sets sum to v(N) − v(∅).")


class UncertaintyRecord(Record):
    """How the intervals were made."""

    level: float = Field(description="Two-sided confidence level of each interval.")
    method: str
    seeds: int = Field(description="Number of different seeds.")
    seed_groups: int = Field(description="In how many groups they were left out, one after the other.")
    reference_groups: int = Field(description="The same for the reference images; 0: taken as they are.")
    control_groups: int = Field(description="The same for the control images.")
    resampling_seed: int = Field(description="Seed of the groups and of the draws for `probability_largest`.")
    draws: int = Field(description="Draws for `probability_largest`.")


class ReportWarning(Record):
    """Something that changes how to read the result."""

    code: str = Field(default="note", description="A stable name for programs.")
    message: str = Field(description="One or two sentences for a reader.")

    @model_validator(mode="before")
    @classmethod
    def _bare_sentence(cls, data: Any) -> Any:
        return {"message": data} if isinstance(data, str) else data


class ReportData(Record):
    """A CopyScope report."""

    schema_version: Literal["1.2"] = SCHEMA_VERSION
    statement: str = STATEMENT
    created: str = Field(description="When, UTC, ISO 8601.")
    headline: str = Field(description="The answer in one sentence.")
    distance: DistanceName = Field(default="fid", description="What v(S) is made of.")
    players: list[PlayerResult]
    coalitions: list[CoalitionResult] = Field(description="All 2ⁿ, or those that were measured, by bitmask.")
    groups: list[GroupResult] = Field(
        default_factory=list, description="Contributions of groups of players; empty where none is grouped."
    )
    sampling: SamplingRecord | None = Field(
        default=None, description="How coalitions were sampled; null: all that the value needs were measured."
    )
    locked: list[LockedComponent]
    unmeasured: list[UnmeasuredComponent]
    models: list[ModelFile] = Field(description="Model files of players, locked and unmeasured components.")
    differences: list[Difference] = Field(default_factory=list, description="Of every pair of players.")
    interactions: list[Interaction] = Field(
        default_factory=list, description="Sets of one to three players; empty for more than 12 players."
    )
    uncertainty: UncertaintyRecord | None = Field(default=None, description="How the intervals were made; null: none.")
    no_interval: str | None = Field(default=None, description="Why there are no intervals, in a sentence.")
    efficiency_gap: float = Field(description="Σφ − (v(N) − v(∅)); rounding only.")
    seeds: list[int] = Field(description="Seed offsets, added to the workflow's own seed.")
    settings: dict[str, Any]
    reference: Reference
    control: Reference | None = Field(default=None, description="Unrelated images of the same kind; null: none.")
    preprocessing: str = Field(description="Id of everything between an image file and its features.")
    environment: dict[str, Any] = Field(description="Versions of CopyScope, Python, NumPy, PyTorch, ComfyUI; device.")
    workflow: dict[str, Any] | None = Field(description="The audited workflow, API format; null for `score`.")
    deterministic: bool | None = Field(description="Whether two runs gave the same pixels; null: not tried.")
    canaries: list[CanaryResult] = Field(
        default_factory=list, description="Coalitions that were run once again at the end; empty: none."
    )
    private: bool = Field(default=False, description="Whether prompts, paths and names of images were left out.")
    warnings: list[ReportWarning]

    def ranked(self) -> list[PlayerResult]:
        """Players by falling Shapley value."""
        return sorted(self.players, key=lambda player: -player.shapley)
