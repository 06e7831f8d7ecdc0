"""The plan of an audit: players, what is locked and unmeasured, and the graph of every coalition. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from ..errors import PlayerError, TooManyCoalitionsError
from ..evaluation.race import Aside, Race
from ..game.choose import MOST_SAMPLED, choose_design, exact_count, smallest_sample
from ..game.coalitions import execution_order, how_many, label, members
from ..game.design import Design
from ..game.statistics import LEVEL
from ..players.components import Component
from ..players.discover import InputImage
from ..players.rewrite import Rewriter
from ..players.selection import grouping, select
from ..players.unmeasured import Unmeasured
from ..settings import AuditSettings
from ..twins.twins import Twins
from ..workflow.graph import Graph, Link
from ..workflow.node_info import NodeCatalog
from ..workflow.noise import NoiseInput, noise_inputs, untouched_seeds
from .cost import Cost, Duration, batch_size, costs_of_modes, is_sampler
from .server_files import check_baseline_files
from .steps import Step, choose_canaries
from .survey import left_over, survey
from .video import Clip, clip_length

COST_ORDER = ("checkpoint", "unet", "clip", "controlnet", "lora", "prompt", "image", "vae")
"""Kinds of players, the most expensive to change between two coalitions first."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Plan:
    """One workflow, ready to be run for any coalition and seed offset.

    Attributes:
        graph: the workflow upstream of ``target``; output nodes are bypassed.
        target: the output whose images are audited.
        players: what is measured, in bitmask order.
        locked: components that are present in every coalition, each with its reason.
        unmeasured: what else shapes the images.
        images: image files upstream.
        noise: the active noise inputs; offset *k* is added to each.
        seeds: seed offsets per coalition (1 where the workflow has no active noise); the most, until a race begins.
        batch: images per prompt that are measured, as far as the workflow tells.
        clip: says that the images are frames of a clip, and which are measured; None: they are no frames.
        warnings: sentences for the user.
        rewriter: gives the graph of any coalition.
        design: which coalitions are run. A sampled design starts as the smallest and grows (``sampling.next_design``).
        group_names: names of the design's groups.
        costs: what each way of measuring the game would run.
        model_names: the files that the workflow names without their extension, such as LoRAs in tags, by these names.
        twins: players that are copies of one model, as far as that is known (``twin_players``).
        duration: how long the audit may take; None: nothing tells.
        race: of an audit that runs until it is sure; None: it runs all that it is asked for.
    """

    graph: Graph
    target: Link
    players: tuple[Component, ...]
    locked: tuple[Component, ...]
    unmeasured: tuple[Unmeasured, ...]
    images: tuple[InputImage, ...]
    noise: tuple[NoiseInput, ...]
    seeds: int
    batch: int
    clip: Clip | None
    settings: AuditSettings
    warnings: tuple[str, ...]
    rewriter: Rewriter = field(repr=False)
    design: Design
    group_names: tuple[str, ...]
    costs: tuple[Cost, ...]
    model_names: Mapping[str, str] = field(default_factory=dict)
    twins: tuple[Twins, ...] = ()
    duration: Duration | None = None
    race: Race | None = None

    def __repr__(self) -> str:
        names, cost = ", ".join(self.names), self.cost
        return f"<Plan of {names}: {cost.coalitions} coalitions, {cost.images} images>"

    @property
    def names(self) -> tuple[str, ...]:
        """The players' names, in bitmask order."""
        return tuple(player.name for player in self.players)

    @property
    def coalitions(self) -> list[int]:
        """The design's masks in execution order, the full coalition first."""
        costs = sorted(range(len(self.players)), key=lambda i: COST_ORDER.index(_cost_kind(self.players[i].kind)))
        return execution_order(self.design.masks, len(self.players), costs)

    @property
    def cost(self) -> Cost:
        """The cost of the mode that the settings ask for."""
        return next(cost for cost in self.costs if cost.chosen)

    @property
    def sampler_runs(self) -> int:
        """Distinct sampler executions over all coalitions and seeds, or an upper bound."""
        return self.cost.sampler_runs

    @property
    def frames(self) -> int | None:
        """How many frames of each clip are measured (0: all); None where the images are no frames."""
        return None if self.clip is None else self.clip.frames

    @property
    def made(self) -> int:
        """Images that a prompt makes, measured or not, as far as the workflow tells."""
        return self.batch if self.clip is None or self.clip.length is None else self.clip.length

    @property
    def full(self) -> int:
        """The mask of the full coalition."""
        return (1 << len(self.players)) - 1

    def steps(self) -> list[Step]:
        """Every coalition at every seed offset, in the order in which they run.

        The full coalition's first step comes first; where anything is random its repetition follows.
        """
        steps = list(
            dict.fromkeys(self.maker(Step(mask, offset)) for mask in self.coalitions for offset in range(self.seeds))
        )
        return [steps[0], self.repeat, *steps[1:]] if self.noise else steps

    def at(self, race: Race) -> Plan:
        """The plan of what a race is to run next."""
        return replace(self, race=race, design=race.size.design, seeds=race.size.seeds)

    def begun(self) -> Plan:
        """The plan of what is to be run first: of a race its first round, else the plan itself."""
        return self if self.race is None else self.at(self.race)

    @property
    def level(self) -> float:
        """Of every interval."""
        return LEVEL if self.race is None else self.race.level

    def maker(self, step: Step) -> Step:
        """The step whose images a step has: its own, or one without the players that were set aside."""
        aside = Aside() if self.race is None else self.race.aside
        return step if step.again else replace(step, mask=aside.maker(step.mask, step.offset))

    def filled(self, made: Mapping[Step, _T]) -> dict[Step, _T]:
        """What came of every step: what was made, and for steps that were not run what their makers made."""
        steps = (Step(mask, offset) for mask in self.design.masks for offset in range(self.seeds))
        return {**{step: made[maker] for step in steps if (maker := self.maker(step)) in made}, **made}

    def trials(self) -> list[Step]:
        """Steps with players that were set aside, to be run after all at the end of a race: one for each player."""
        return [] if self.race is None else [Step(*trial) for trial in self.race.trials().values()]

    @property
    def repeat(self) -> Step:
        """The second run of the full coalition's first step."""
        return Step(self.full, 0, "repeat")

    def canaries(self) -> list[Step]:
        """The steps that are run once again at the end; none where nothing is random."""
        return choose_canaries(self.design.masks, self.full) if self.noise else []

    def weight(self, mask: int) -> int:
        """A rough measure of the work that a coalition takes: the number of nodes in its graph."""
        return len(self.rewriter.nodes(mask))

    def label(self, mask: int) -> str:
        """A coalition's name in messages."""
        return label(mask, self.names)

    def members(self, mask: int) -> tuple[str, ...]:
        """The names of a coalition's players."""
        return members(mask, self.names)

    def summary(self) -> dict[str, Any]:
        """What ``copyscope plan --json`` prints."""
        return {
            "players": [
                {"name": p.name, "kind": p.kind, "node": p.node, "files": list(p.files), "absence": p.absence.rule}
                for p in self.players
                if p.absence
            ],
            "locked": [
                {"name": c.name, "kind": c.kind, "node": c.node, "files": list(c.files), "reason": c.reason}
                for c in self.locked
            ],
            "unmeasured": [
                {"node": u.node, "class_type": u.class_type, "what": u.what, "reason": u.reason}
                for u in self.unmeasured
            ],
            "output": {"node": self.target.node, "slot": self.target.slot},
            "seeds": self.seeds,
            "batch": self.batch,
            "clip": None if self.clip is None else asdict(self.clip),
            "groups": {
                name: [self.names[i] for i in group]
                for name, group in zip(self.group_names, self.design.groups, strict=False)
            },
            "twins": [{"players": list(item.names), "cosine": item.cosine} for item in self.twins],
            "mode": self.cost.mode,
            "coalitions": self.cost.coalitions,
            "images": self.cost.images,
            "sampler_runs": self.cost.sampler_runs,
            "modes": [asdict(cost) for cost in self.costs],
            "until_sure": (
                None
                if self.race is None
                else {"error": self.race.error, "first": self.race.size.runs, "runs": self.race.runs}
            ),
            "determinism_runs": 1 if self.noise else 0,
            "duration": None if self.duration is None else asdict(self.duration),
            "warnings": list(self.warnings),
        }


def make_plan(
    workflow: Any,
    catalog: NodeCatalog,
    settings: AuditSettings | None = None,
    target: Link | None = None,
    whole: Graph | None = None,
) -> Plan:
    """Plan the audit of an API-format workflow. Arguments as for ``survey``.

    Raises:
        WorkflowError: as ``survey``.
        PlayerError: nothing to measure, or a named component does not exist.
        TooManyCoalitionsError: more than ``settings.max_coalitions``, and no budget to run a sample of them.
        GameError: the budget, or ``max_runs``, is too small for so many players, or they are too many for any way of
            measuring.
    """
    settings = settings or AuditSettings()
    seen = survey(workflow, catalog, settings, target, whole)
    original, target, found = seen.graph, seen.target, seen.found
    players, locked = select(found.components, settings)
    if not players:
        raise PlayerError(_no_players(target, original, locked))
    group_names, groups = grouping(players, settings.groups)
    _refuse_too_many(players, groups, settings)
    design = choose_design(len(players), groups, settings.budget, settings.estimator)
    noise = noise_inputs(original, catalog)
    seeds, race = settings.seeds if noise else 1, None
    if settings.until_sure:
        race = Race.start(design, seeds, settings.error, settings.budget, settings.max_runs)
        seeds = race.seeds
    rules = [player.absence for player in players if player.absence]
    rewriter = Rewriter(original, found.graph, target, rules, _spread(noise, found.copies))
    if catalog.live:
        check_baseline_files(original, rules, catalog)
    warnings = (
        []
        if noise
        else ["The workflow has no active noise input, so every seed gives the same images; one seed is used."]
    )
    unknown = sorted({node.class_type for node in original.values() if node.class_type not in catalog})
    if unknown:
        warnings.append(
            f"Unknown node classes are kept as they are: {', '.join(unknown)}; with a server they are looked up."
        )
    if seen.bypassed:
        warnings.append(f"Output nodes on the image's way are bypassed: {', '.join(seen.bypassed)}.")
    if seeds_left := untouched_seeds(original, noise):
        warnings.append(f"Seeds that are the same for every seed offset: nodes {', '.join(seeds_left)}.")
    rest = left_over(rewriter, found)
    batch = batch_size(original, catalog)
    clip = Clip(settings.frames, clip_length(original, catalog, batch)) if seen.clips else None
    batch = batch if clip is None else clip.measured
    samplers = [node_id for node_id, node in found.graph.items() if is_sampler(node, catalog)]
    costs = costs_of_modes(rewriter, samplers, groups, design, settings, seeds, batch)
    return Plan(
        original, target, tuple(players), tuple(locked), tuple(rest), found.images, tuple(noise), seeds,
        batch, clip, settings, tuple(warnings), rewriter, design, group_names, costs, found.names, race=race,
    )  # fmt: skip


def _no_players(target: Link, graph: Graph, locked: list[Component]) -> str:
    if not locked:
        return (
            f"No players were found upstream of node {target.node!r} ({graph[target.node].class_type}): it has no "
            "checkpoint, LoRA, VAE, ControlNet or prompt; wire the output of a generating workflow."
        )
    listed = "; ".join(f"{component.name} ({component.kind}): {component.reason}" for component in locked)
    return f"No players were found upstream of node {target.node!r}; all components are locked: {listed}."


def _spread(noise: list[NoiseInput], copies: Mapping[str, str]) -> list[NoiseInput]:
    """The noise inputs, with those of nodes that were copied for the positive prompt."""
    by_node: dict[str, list[NoiseInput]] = {}
    for item in noise:
        by_node.setdefault(item.node, []).append(item)
    extra = [replace(item, node=copy) for copy, origin in copies.items() for item in by_node.get(origin, ())]
    return [*noise, *extra]


def _refuse_too_many(players: Sequence[Component], groups: Sequence[Sequence[int]], settings: AuditSettings) -> None:
    count = exact_count(len(players), groups)
    if settings.budget is not None or count <= settings.max_coalitions:
        return
    too_many = (
        f"{len(players)} players make {how_many(count)} coalitions, more than max_coalitions = "
        f"{settings.max_coalitions}; lock some of them (players: "
    )
    if len(players) > MOST_SAMPLED:
        names = ", ".join(player.name for player in players[:MOST_SAMPLED])
        raise TooManyCoalitionsError(
            f"{too_many}{names} and {len(players) - MOST_SAMPLED:,} more) until at most {MOST_SAMPLED} are left, who "
            "can be sampled with a budget."
        )
    names = ", ".join(player.name for player in players)
    least = len(smallest_sample(len(players), groups, settings.estimator).masks)
    raise TooManyCoalitionsError(
        f"{too_many}{names}), run a sample with a budget of {least:,} coalitions or more, or raise max_coalitions."
    )


def _cost_kind(kind: str) -> str:
    return kind if kind in COST_ORDER else "lora"
