"""The report's schema: what ``report.json`` holds. ``docs/report.md`` explains each key.

``docs/report.schema.json`` is made from these models by ``tools/make_report_schema.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..distances.registry import DistanceName
from ..evaluation.race import Stop
from ..evaluation.verdict import Agreement, Basis, Reason
from ..game.design import Estimator

SCHEMA_VERSION: Literal["1.3"] = "1.3"
STATEMENT = "similarity contribution, not a finding of infringement"

Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
"""[low, high] at 95%; where an audit ran until it was sure, at the level of its last look (`uncertainty.level`)."""
Columns = Annotated[list[int], Field(min_length=2, max_length=2)]
"""[start, stop): places in a feature vector."""


class Record(BaseModel):
    """Base of all parts: frozen, finite numbers only, and unknown keys (of later versions) are ignored."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, extra="ignore")


class ModelFile(Record):
    """A model file that the workflow loads."""

    file: str = Field(description="File name as the workflow gives it.")
    kind: str | None = Field(default=None, description="Kind of the component that loads it.")
    sha256: str | None = Field(default=None, description="SHA-256 of the file, hex; null: not hashed.")
    autov2: str | None = Field(default=None, description="AutoV2 hash: the first ten digits of the SHA-256.")


class TrainingFolderRecord(Record):
    """A folder of training images, as a model file tells it."""

    name: str
    images: int | None = Field(description="How many it held; null: not told.")
    repeats: int | None = Field(description="How often each was seen an epoch; null: not told.")


class TagRecord(Record):
    """A word or phrase of training captions, as a model file tells it."""

    tag: str
    images: int | None = Field(description="How many images have it in their captions; null: not told.")


class MentionRecord(Record):
    """A place where a model file's own metadata has one of the names in `settings.artists`."""

    word: str = Field(description="The name that was looked for.")
    where: Literal["tag", "folder", "text"] = Field(description="A tag, a training folder's name, or another text.")
    field: str = Field(description="The field of the metadata.")
    text: str = Field(description="The tag, the folder's name, or the text around the name.")
    images: int | None = Field(default=None, description="How many images are so tagged, or in the folder; or null.")
    sentence: str = Field(description="The same in words.")


class ModelMetadata(Record):
    """What a model file says of itself in its header: anybody may have written it, and no number is made of it."""

    file: str = Field(description="File name as the workflow gives it.")
    components: list[str] = Field(description="Names of the components that load it.")
    fields: int = Field(description="How many fields of text it has; 0: it says nothing of itself.")
    cut: bool = Field(default=False, description="Whether some of it was too long to be read.")
    name: str | None = Field(default=None, description="ss_output_name, or modelspec.title.")
    author: str | None = Field(default=None, description="modelspec.author.")
    base_model: str | None = Field(default=None, description="The model it was trained on: ss_sd_model_name.")
    base_version: str | None = Field(default=None, description="ss_base_model_version, or modelspec.architecture.")
    started: str | None = Field(default=None, description="When training began, UTC, ISO 8601.")
    finished: str | None = Field(default=None, description="When it ended, or modelspec.date.")
    description: str | None = Field(default=None, description="modelspec.description, or ss_training_comment.")
    trigger_words: list[str] = Field(default_factory=list, description="Words that it says call up what it learned.")
    folders: list[TrainingFolderRecord] = Field(default_factory=list, description="ss_dataset_dirs, the first ones.")
    folders_in_all: int = 0
    tags: list[TagRecord] = Field(default_factory=list, description="ss_tag_frequency, the most frequent ones.")
    tags_in_all: int = 0
    mentions: list[MentionRecord] = Field(
        default_factory=list, description="Where it has a name that was looked for, the first ones."
    )
    mentions_in_all: int = 0


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
        default=None,
        description="Players that differ from it, by what the verdict is based on, by an amount whose 95% "
        "interval contains 0; null: unknown.",
    )
    probability_largest: float | None = Field(
        default=None,
        description="How probable it is that it is the first by what the verdict is based on, 0…1; null: unknown.",
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
    contrast: float | None = Field(
        default=None,
        description="How much more the player moves the images towards the reference than towards the control images, "
        "in units of the distance (FID: of its mean part); null: no control.",
    )
    contrast_interval: Interval | None = Field(default=None, description="Its 95% interval, or null.")
    style_shapley: float | None = Field(default=None, description="φ of the style distance; null: not measured.")
    style_shapley_interval: Interval | None = Field(default=None, description="Its 95% interval, or null.")
    style_contrast: float | None = Field(default=None, description="The contrast of the style distance, or null.")
    style_contrast_interval: Interval | None = Field(default=None, description="Its 95% interval, or null.")
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
    stopped: Literal["budget", "target", "chance", "verdict"] = Field(
        description="Why no more were run; chance: the seeds' part of the widest interval is so large that more "
        "coalitions would not narrow it; verdict: the audit ran until it was sure, see `verdict.until_sure`."
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
    frame: int | None = Field(
        default=None, description="Its place in the clip of that seed, from 0; null: an image of its own."
    )
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


class ClipRecord(Record):
    """What the images are where a video was audited: frames of clips, one clip a seed."""

    frames: int = Field(description="Frames of each clip that were measured, evenly spaced.")
    length: int | None = Field(description="Frames that each clip has; null: not all have the same number.")


class Reference(Record):
    """The rights holder's images."""

    count: int = Field(description="Number of images.")
    images: list[ImageRecord] = Field(default_factory=list, description="Names and hashes.")
    preprocessing: dict[str, Any] = Field(default_factory=dict, description="How they were brought to size.")


class LeftOutWork(Record):
    """A work of CopyScope's own that is no control image, for it resembles the reference."""

    file: str
    reason: Literal["same_picture", "resembles_reference", "same_artist"] = Field(
        description="same_picture: its pixels are much like a reference's; resembles_reference: its features are; "
        "same_artist: by the hand of such a work."
    )


class ControlRecord(Reference):
    """The control images."""

    source: Literal["given", "bank"] = Field(
        default="given", description="given: the user's own; bank: CopyScope's own, since none were given."
    )
    bank: str | None = Field(default=None, description="SHA-256 of the bank's table; null: the user's own.")
    kinds: list[str] = Field(
        default_factory=list, description="Kinds of works of the bank that were chosen, nearest to the reference first."
    )
    left_out: list[LeftOutWork] = Field(
        default_factory=list, description="Works of the bank that were left out because they resemble the reference."
    )


class Difference(Record):
    """How far two players are apart by what the verdict is based on: their contrasts, or their φ."""

    first: str
    second: str
    difference: float = Field(description="The first less the second.")
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


class YardstickRecord(Record):
    """Mean squared distances between single images, in units of the value function; null where there are no pairs."""

    control: float | None = Field(description="Of two control images: how far unrelated works are apart.")
    reference: float | None = Field(description="Of two reference images.")
    none: float = Field(description="Of an image made with none of the players to a reference image.")
    full: float = Field(description="Of an image made with all players to a reference image.")
    none_control: float | None = Field(description="As `none`, to a control image.")
    full_control: float | None = Field(description="As `full`, to a control image.")


class ValueFunctionResult(Record):
    """What one value function says."""

    function: Literal["content", "style"]
    first: str | None = Field(description="The player (or group) that comes first; null: not defined.")
    estimate: float | None = Field(description="Its contrast or φ, whichever is the verdict's basis.")
    interval: Interval | None = Field(description="Its 95% interval, or null.")
    above_zero: float | None = Field(description="p of its not being above 0, corrected for the number of players.")
    ahead: float | None = Field(description="p of its not being ahead of the nearest other; null: none, or unknown.")
    sure: bool = Field(description="Whether it is told from 0 and from every other at 95%.")
    yardstick: YardstickRecord


class Reading(Record):
    """Something that stands beside the verdict, for it changes how to read it."""

    code: str = Field(description="A stable name for programs.")
    sentence: str


class LookRecord(Record):
    """What was seen after a round of an audit that runs until it is sure."""

    seeds: int = Field(description="How many seeds there were.")
    coalitions: int = Field(description="How many coalitions.")
    runs: int = Field(description="How many times a coalition had been run at a seed.")
    level: float = Field(description="Two-sided confidence level of this look's intervals.")
    first: str | None = Field(description="Who came first; null: nothing changed.")
    second: str | None = Field(description="Who came second; null: nobody.")
    estimate: float | None = Field(description="Of the first, by the last value function; null: not defined.")
    interval: Interval | None = Field(description="Its interval, or null.")
    decided: bool


class UntilSureRecord(Record):
    """How an audit ended that ran until it was sure."""

    error: float = Field(description="Of all looks together: no more often is any of them wrong.")
    looks: list[LookRecord]
    stopped: Stop = Field(
        description="decided: the verdict was; cannot_decide: a decision within the budget had become improbable; "
        "budget: nothing was left of it; user: somebody stopped it."
    )
    runs: int = Field(description="How many times a coalition was run at a seed.")
    budget: int = Field(description="How many times it might have been.")
    seeds: int = Field(description="How many seeds there might have been.")
    chance: float | None = Field(
        description="How probably the rest of the budget would decide it, 0…1; null: unknown, or nothing was left."
    )
    narrower: float | None = Field(
        description="By what part it would narrow the interval of the first, 0…1; null: unknown, or nothing was left."
    )
    set_aside: list[str] = Field(
        description="Players that changed no pixel at the first look; later images with them are those without them."
    )
    spared: int = Field(description="How many runs were not made because of them.")
    tried: int = Field(description="How many more were made at the end to try it, and gave the images taken.")
    put_back: list[str] = Field(description="Players that had been set aside and had an effect after all.")


class VerdictRecord(Record):
    """The answer: who is named, or what keeps it from being decided."""

    decided: bool
    player: str | None = Field(description="The player (or group) that is named; null: not decided.")
    basis: Basis = Field(description="What players are ranked by: their contrast with control images, or φ.")
    value_functions: list[ValueFunctionResult]
    agreement: Agreement | None = Field(description="Whether they put the same player first; null: there is one.")
    reasons: list[Reason] = Field(description="Why it is not decided; empty where it is.")
    first: str | None = Field(description="Who comes first, decided or not; null: nothing changes.")
    tied: list[str] = Field(description="Players that the first cannot be told from; empty where it is decided.")
    seeds_needed: int | None = Field(description="About so many seeds alone would decide it; null: they would not.")
    references_needed: int | None = Field(description="About so many reference images alone would; or null.")
    seeds: int | None = Field(description="How many seeds there were; null: unknown.")
    references: int = Field(description="How many reference images.")
    controls: int = Field(description="How many control images.")
    general_control: bool = Field(description="Whether the control images are CopyScope's own.")
    sentence: str = Field(description="The answer in one or two sentences.")
    reading: list[Reading] = Field(description="What stands beside it.")
    until_sure: UntilSureRecord | None = Field(
        default=None,
        description="How the audit ended, where it ran until it was sure; null: it ran all that was asked.",
    )

    @property
    def interval_name(self) -> str:
        """What the report's intervals are called: by how often they hold, over all looks together."""
        return f"{100 * (0.95 if self.until_sure is None else 1 - self.until_sure.error):g}% interval"


class CustodyRecord(Record):
    """Who made the report, when, where and with what, as the machine that made it says."""

    started: str = Field(description="When the session began that ended with this report, UTC, ISO 8601.")
    finished: str = Field(description="When its report was written.")
    clock_moved: float = Field(
        description="By how many seconds the clock was set meanwhile; rounding only: it was not."
    )
    host: str | None = Field(default=None, description="Name of the machine; null: left out.")
    clock: str | None = Field(default=None, description="Its clock and its time zone; null: left out.")
    commit: str | None = Field(default=None, description="Git commit of CopyScope; null: unknown.")
    tree_sha256: str = Field(description="SHA-256 of CopyScope's own files; docs/custody.md says of what.")
    weights_sha256: str | None = Field(
        default=None, description="SHA-256 of the weights of FID's Inception; null: another network, named by its id."
    )
    command: str | None = Field(default=None, description="The command; null: a graph in ComfyUI, or left out.")
    examiner: str | None = Field(default=None, description="Who made the report; null: not said.")
    case: str | None = Field(default=None, description="In which matter; null: not said.")
    made: int = Field(description="How many times a combination's images were made in the session.")
    reused: int = Field(description="How many times they were in the run folder, or with the files scored, already.")


class ReportData(Record):
    """A CopyScope report."""

    schema_version: Literal["1.3"] = SCHEMA_VERSION
    statement: str = STATEMENT
    created: str = Field(description="When, UTC, ISO 8601.")
    verdict: VerdictRecord
    distance: DistanceName = Field(default="fid", description="What v(S) is made of.")
    players: list[PlayerResult]
    coalitions: list[CoalitionResult] = Field(description="All 2ⁿ, or those that were measured, by bitmask.")
    groups: list[GroupResult] = Field(
        default_factory=list, description="Contributions of groups of players; empty where none is grouped."
    )
    sampling: SamplingRecord | None = Field(
        default=None, description="How coalitions were sampled; null: all that the value needs were measured."
    )
    clips: ClipRecord | None = Field(
        default=None, description="Of a video: what the images are frames of; null: they are images of their own."
    )
    locked: list[LockedComponent]
    unmeasured: list[UnmeasuredComponent]
    models: list[ModelFile] = Field(description="Model files of players, locked and unmeasured components.")
    metadata: list[ModelMetadata] = Field(
        default_factory=list,
        description="What those files say of themselves; one is missing where its header was not read.",
    )
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
    control: ControlRecord | None = Field(default=None, description="Unrelated images of the same kind; null: none.")
    preprocessing: str = Field(description="Id of everything between an image file and its features.")
    views: dict[str, Columns] = Field(
        default_factory=dict,
        description="Which numbers of a feature vector each value function is made of; empty: all are content.",
    )
    environment: dict[str, Any] = Field(description="Versions of CopyScope, Python, NumPy, PyTorch, ComfyUI; device.")
    workflow: dict[str, Any] | None = Field(description="The audited workflow, API format; null for `score`.")
    deterministic: bool | None = Field(description="Whether two runs gave the same pixels; null: not tried.")
    canaries: list[CanaryResult] = Field(
        default_factory=list, description="Coalitions that were run once again at the end; empty: none."
    )
    custody: CustodyRecord | None = Field(default=None, description="How the report was made; null: unknown.")
    private: bool = Field(default=False, description="Whether prompts, paths and names of images were left out.")
    warnings: list[ReportWarning]

    @property
    def headline(self) -> str:
        """The verdict in a sentence or two."""
        return self.verdict.sentence

    def ranked(self) -> list[PlayerResult]:
        """Players by what the verdict is based on, falling."""
        return sorted(self.players, key=lambda player: -self.worth(player)[0])

    def worth(self, player: PlayerResult) -> tuple[float, Interval | None]:
        """What a player is ranked by, and its 95% interval: its contrast where there is a control, else φ."""
        if self.verdict.basis == "contrast" and player.contrast is not None:
            return player.contrast, player.contrast_interval
        return player.shapley, player.shapley_interval
