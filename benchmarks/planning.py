"""Planning of 2¹² coalitions of a 60-node workflow: time, memory, and how often components change from run to run.

    python -m benchmarks.planning [--players 12] [--nodes 60] [--rounds 3]

First checks that the coalitions of the plan are all different graphs and that the full one is the workflow's own. Then
plans, builds every coalition's graph, and counts changes of players between neighbours in the order of execution,
beside the order of the bitmasks. The fewest possible changes are one a coalition.
"""

from __future__ import annotations

import argparse
import itertools
import resource
from typing import Any

from benchmarks.timing import alternate, heading
from copyscope_core.game.coalitions import execution_order
from copyscope_core.planning.plan import Plan, make_plan
from copyscope_core.settings import AuditSettings
from copyscope_core.workflow.graph import parse_graph
from copyscope_core.workflow.node_info import bundled_catalog


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def workflow(loras: int, nodes: int) -> dict[str, Any]:
    """A checkpoint, LoRAs, two prompts, a sampler, and rescalings of the latent up to so many nodes."""
    graph = {"1": node("CheckpointLoaderSimple", ckpt_name="a.safetensors")}
    last = "1"
    for index in range(loras):
        graph[f"l{index}"] = node(
            "LoraLoader", model=[last, 0], clip=[last, 1], lora_name=f"{index}.safetensors",
            strength_model=1.0, strength_clip=1.0,
        )  # fmt: skip
        last = f"l{index}"
    graph["5"] = node("EmptyLatentImage", width=64, height=64, batch_size=1)
    latent = "5"
    while len(graph) < nodes - 5:
        name = f"u{len(graph)}"
        graph[name] = node("LatentMultiply", samples=[latent, 0], multiplier=1.0)
        latent = name
    graph["6"] = node("CLIPTextEncode", text="a wave", clip=[last, 1])
    graph["7"] = node("CLIPTextEncode", text="blurry", clip=[last, 1])
    graph["3"] = node(
        "KSampler", seed=5, steps=4, cfg=7.0, sampler_name="euler", scheduler="normal", denoise=1.0,
        model=[last, 0], positive=["6", 0], negative=["7", 0], latent_image=[latent, 0],
    )  # fmt: skip
    graph["8"] = node("VAEDecode", samples=["3", 0], vae=["1", 2])
    graph["9"] = node("SaveImage", images=["8", 0], filename_prefix="x")
    return graph


def changes(order: list[int], n: int) -> list[int]:
    """How often each player comes or goes along an order."""
    return [sum((one ^ other) >> bit & 1 for one, other in itertools.pairwise(order)) for bit in range(n)]


def main() -> None:
    """Check, time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--players", type=int, default=12)
    parser.add_argument("--nodes", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    heading()
    n = options.players
    graph = parse_graph(workflow(n, options.nodes))
    settings = AuditSettings(seeds=1, max_coalitions=2**n, lock=["prompt"])
    catalog = bundled_catalog()

    def plan() -> Plan:
        return make_plan(graph, catalog, settings)

    def graphs() -> list[Any]:
        rewriter = plan().rewriter
        return [len(rewriter.graph(mask)[0]) for mask in range(2**n)]

    made = plan()
    if len(made.players) != n:
        raise SystemExit(f"The workflow has {len(made.players)} players, not {n}.")
    targets = {made.rewriter.target(mask) for mask in range(2**n)}
    assert len(targets) == 2**n
    assert len(made.rewriter.graph(made.full)[0]) == len(graph) - 1  # all but SaveImage
    timed = alternate({"plan": plan, "plan and every graph": graphs}, options.rounds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(graph)} nodes, {2**n} coalitions")
    for name, value in timed.items():
        print(f"  {name}: {value.seconds:.2f} s, processor {value.processor:.2f} s")
    print(f"  memory of the whole process at most {peak:.2f} GiB")
    for name, order in (("execution order", execution_order(range(2**n), n)), ("bitmask order", list(range(2**n)))):
        counts = changes(order, n)
        print(f"  changes in {name}: {sum(counts)} in all; by player {counts}")


if __name__ == "__main__":
    main()
