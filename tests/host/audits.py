"""Workflows on the miniature models, and what tests read out of ComfyUI's answers."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import aiohttp
from hostutil import Server, require_host

from copyscope_core.comfyui.versions import read_version

Workflow = dict[str, dict[str, Any]]

TEXT_EVENT = 3
"""Of the websocket's binary messages."""
CHECKPOINT = "copyscope-mini-sd15.safetensors"
BASELINE = "copyscope-mini-sd15-baseline.safetensors"
LORA_A = "copyscope-mini-lora-a.safetensors"
VAE = "copyscope-mini-vae.safetensors"
CONTROLNET = "copyscope-mini-controlnet.safetensors"
LORA_NONE = "copyscope-mini-lora-none.safetensors"


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def plain(lora: str | None = LORA_A, seed: int = 5, size: int = 64) -> Workflow:
    """A user's own workflow: checkpoint, one LoRA (or none), a KSampler of two steps, SaveImage."""
    last = "10" if lora else "4"
    workflow = {
        "4": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "5": node("EmptyLatentImage", width=size, height=size, batch_size=1),
        "6": node("CLIPTextEncode", text="a wave, by hokusai", clip=[last, 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=[last, 1]),
        "3": node("KSampler", seed=seed, steps=2, cfg=7.0, sampler_name="euler", scheduler="normal", denoise=1.0,
                  model=[last, 0], positive=["6", 0], negative=["7", 0], latent_image=["5", 0]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="own"),
    }  # fmt: skip
    if lora:
        workflow["10"] = node("LoraLoader", model=["4", 0], clip=["4", 1], lora_name=lora, strength_model=1.0,
                              strength_clip=1.0)  # fmt: skip
    return workflow


def with_noise_node(seed: int = 5) -> Workflow:
    """The same with the nodes that Flux and Wan are sampled with: the noise is a node of its own."""
    workflow = plain(seed=seed)
    workflow["3"] = node("SamplerCustomAdvanced", noise=["11", 0], guider=["12", 0], sampler=["13", 0],
                         sigmas=["14", 0], latent_image=["5", 0])  # fmt: skip
    return {
        **workflow,
        "11": node("RandomNoise", noise_seed=seed),
        "12": node("CFGGuider", model=["10", 0], positive=["6", 0], negative=["7", 0], cfg=7.0),
        "13": node("KSamplerSelect", sampler_name="euler"),
        "14": node("BasicScheduler", model=["10", 0], scheduler="normal", steps=2, denoise=1.0),
    }


def in_two_stages(seed: int = 5) -> Workflow:
    """Sampled in two stages, the LoRA in the second only, so that coalitions share the first, which holds the seed."""
    workflow = plain(seed=seed)
    stage = {"noise_seed": seed, "steps": 4, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal",
             "positive": ["6", 0], "negative": ["7", 0]}  # fmt: skip
    workflow["6"]["inputs"]["clip"] = workflow["7"]["inputs"]["clip"] = ["4", 1]
    workflow["11"] = node("KSamplerAdvanced", **stage, add_noise="enable", model=["4", 0], latent_image=["5", 0],
                          start_at_step=0, end_at_step=2, return_with_leftover_noise="enable")  # fmt: skip
    workflow["3"] = node("KSamplerAdvanced", **stage, add_noise="disable", model=["10", 0], latent_image=["11", 0],
                         start_at_step=2, end_at_step=10000, return_with_leftover_noise="disable")  # fmt: skip
    return workflow


def audited(workflow: Workflow, seeds: int = 2, reference: str = "ref", **players: Any) -> Workflow:
    """The workflow with CopyScope's nodes wired to its image."""
    result = copy.deepcopy(workflow)
    choice = {"baseline_checkpoint": "(none)", "baseline_vae": "(none)", "key_prompts": "", "neutral_prompt": "",
              "only": "", "lock": "", **players}  # fmt: skip
    result["20"] = node("CopyScopePlayers", **choice)
    result["21"] = node(
        "CopyScopeCoalitionEnumerator", image=["8", 0], seeds=seeds, max_coalitions=256, players=["20", 0]
    )
    result["22"] = node("CopyScopeFID", coalitions=["21", 0], reference_folder=reference, control_bank=False)
    result["23"] = node("CopyScopeShapleyReport", game=["22", 0], show_reference=True)
    return result


def report_of(entry: dict[str, Any], node_id: str = "23") -> dict[str, Any]:
    """The report in a history entry."""
    assert entry["status"]["status_str"] == "success", error_of(entry)
    return entry["outputs"][node_id]["copyscope_report"][0]


def error_of(entry: dict[str, Any]) -> str:
    """The message of the error that ended a prompt."""
    return next(
        (data["exception_message"] for kind, data in entry["status"]["messages"] if kind == "execution_error"), ""
    )


def values(report: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a report, for comparing runs."""
    return {
        "fid": [coalition["fid"] for coalition in report["coalitions"]],
        "shapley": {player["name"]: player["shapley"] for player in report["players"]},
        "pixels": [[i["pixel_sha256"] for i in coalition["image_files"]] for coalition in report["coalitions"]],
    }


def cache_mode(server: Server) -> str:
    """How a server keeps outputs, told by its flags: ``none``, ``lru``, ``ram-pressure`` or ``classic``."""
    system = server.get("/system_stats")["system"]
    flags = " ".join(system["argv"])
    named = next((mode for mode in ("none", "lru", "ram", "classic") if f"--cache-{mode}" in flags), None)
    by_default = "ram" if read_version(system["comfyui_version"]) >= (0, 33, 0) else "classic"
    return {"ram": "ram-pressure"}.get(named or by_default, named or by_default)


def expands(server: Server) -> bool:
    """Whether this server can run audits in a graph: 0.3.64's ``--cache-none`` fails on nodes that expand."""
    text = (require_host() / "comfy_execution" / "caching.py").read_text(encoding="utf-8")
    return cache_mode(server) != "none" or "class NullCache" in text


def pixels_of(report: dict[str, Any], *members: str) -> list[str]:
    """The pixel hashes of one coalition's images."""
    coalition = next(c for c in report["coalitions"] if set(c["members"]) == set(members))
    return [image["pixel_sha256"] for image in coalition["image_files"]]


class Watched(NamedTuple):
    """What a prompt showed, in order: ids of the nodes that it executed, texts on nodes, races."""

    prompt_id: str
    ids: list[str]
    texts: list[str]
    races: list[dict[str, Any]]


async def watched(server: Server, workflow: Workflow, heard: Callable[[str], None] = lambda text: None) -> Watched:
    """Runs a prompt and listens at the websocket to its end; ``heard`` is called with each text."""
    client = uuid.uuid4().hex
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.url}/ws?clientId={client}", max_msg_size=0) as socket,
    ):
        async with session.post(f"{server.url}/prompt", json={"prompt": workflow, "client_id": client}) as answer:
            assert answer.status == 200, await answer.text()
            told = await answer.json()
            assert not told["node_errors"], told
            found = Watched(told["prompt_id"], [], [], [])
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY and int.from_bytes(message.data[:4], "big") == TEXT_EVENT:
                length = int.from_bytes(message.data[4:8], "big")
                found.texts.append(message.data[8 + length :].decode("utf-8"))
                heard(found.texts[-1])
            event = message.json() if message.type == aiohttp.WSMsgType.TEXT else {"type": "", "data": {}}
            if event["type"] == "copyscope.race":
                found.races.append(event["data"])
            if event["data"].get("prompt_id") != found.prompt_id:
                continue
            if event["type"] == "execution_error":
                raise AssertionError(event["data"]["exception_message"])
            if event["type"] == "executing" and event["data"]["node"] is None:
                return found
            if event["type"] == "executing":
                found.ids.append(event["data"]["node"])
    raise AssertionError("the websocket closed")
