"""Writes the workflows that ship with the pack: ``workflows/TITLE.json``, ``TITLE.jpg`` and ``api/NAME.json``.

    python -m tools.make_workflows [NAME …]

Each workflow is described once, here, as an API-format graph and a layout. A real ComfyUI (COMFYUI_PATH) with the pack
opens the graph in its own front end, in headless Chromium, which makes the UI file; that is then opened again and must
give back the very API graph. The picture is what one gets: the report of a run with the style zoo's models under the
names that the workflow uses: the LoRA learned from works by Hokusai, who is the reference. The zoo is of SD 1.5's kind;
a ComfyUI sees what a checkpoint is, whatever its name, so SDXL's workflow runs with it. A graph of that kind stands in
for Flux's.

ComfyUI shows a template under its file's name, which is its description too.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), *(str(REPOSITORY / folder) for folder in ("tests", "tests/browser"))]

import frontend  # noqa: E402
from hostutil import Server, start_server  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402
from safetensors import safe_open  # noqa: E402
from workflow_models import TITLES, make_files, make_reference  # noqa: E402

from copyscope_core.demo.demo import REFERENCE  # noqa: E402
from tools.make_screenshots import MODELS, SMALL, WAIT, export_as  # noqa: E402
from tools.style_zoo.training import save_atomic  # noqa: E402

FOLDER = REPOSITORY / "workflows"
PICTURE_WIDTH = 900
PICTURE_NODE, PICTURE_TOP = (560, 460), 90
"""Size of the report node; pixels above its panel, on which the front end writes what a template is."""
PICTURE_BYTES = 150_000
WEAK_HINT = {"strength": 0.02}
"""Of the ControlNet, whose miniature has random weights: at full strength its images are noise."""
ZOO = {
    **MODELS,
    "checkpoints/sd_xl_base_1.0": "checkpoints/style-base",
    "loras/artist-style-sdxl": "loras/style-hokusai-2",
    "loras/artist-style-flux": "loras/style-hokusai-3",
}
VAE, LAST_LAYER = "vae/vae-ft-mse-840000-ema-pruned", 19
PICTURE_TEXTS = {
    "quick-start": "a landscape",
    "two-loras": "a landscape, in the style of Jane Artist",
    "controlnet-lora-prompt": "a woman, mona_lisa, da Leonardo da vinci",
    "separate-vae": "a city",
    "sdxl": "a city, in the style of Jane Artist",
    "flux": "a landscape, in the style of Jane Artist",
    "loader-coalitions": "a landscape, in the style of Jane Artist",
}
"""Prompts of the pictures: the zoo's base model knows few words."""
SD15, FINE_TUNED = "v1-5-pruned-emaonly-fp16.safetensors", "dreamshaper_8.safetensors"
STYLE, CHARACTER = "artist-style-sd15.safetensors", "character-sd15.safetensors"
PHRASE = "in the style of Jane Artist"
REPORT_SIZE = (620, 660)
MARGIN, GAP, TITLE = 30, 70, 30

Graph = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Description:
    """One workflow.

    Attributes:
        graph: API format, audit nodes included.
        columns: the user's own nodes from left to right, each column from top to bottom.
        measures: what the note says the workflow measures, and in how many coalitions.
    """

    graph: Graph
    columns: list[list[str]]
    measures: str


def node(class_type: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    entry = {"class_type": class_type, "inputs": inputs}
    return {**entry, "_meta": {"title": title}} if title else entry


def sampling(model: list[Any], latent: list[Any], positive: list[Any], negative: list[Any], **changes: Any) -> Graph:
    """Sampler, decoder and SaveImage: nodes 7 to 9. The decoder's VAE is linked by the caller."""
    values = {"seed": 20240501, "steps": 20, "cfg": 7.0, "sampler_name": "dpmpp_2m", "scheduler": "karras", **changes}
    return {
        "7": node("KSampler", model=model, positive=positive, negative=negative, latent_image=latent, denoise=1.0,
                  **values),
        "8": node("VAEDecode", samples=["7", 0], vae=["1", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="CopyScope"),
    }  # fmt: skip


def audit(image: str = "8", *, reference_node: bool = False, **choice: Any) -> Graph:
    """Players → enumerator → FID → report: nodes 20 to 24."""
    players = {
        "baseline_checkpoint": "(none)", "baseline_vae": "(none)", "key_prompts": "", "neutral_prompt": "", "only": "",
        "lock": "", "image_players": "", "baseline_models": "", **choice,
    }  # fmt: skip
    graph = {
        "20": node("CopyScopePlayers", **players),
        "21": node(
            "CopyScopeCoalitionEnumerator", image=[image, 0], players=["20", 0], seeds=8, max_coalitions=256
        ),
    }  # fmt: skip
    return {**graph, **scoring("21", reference_node)}


def scoring(coalitions: str, reference_node: bool = False) -> Graph:
    """FID and report, and, if wanted, the reference's own node with a preview."""
    fid = node(
        "CopyScopeFID",
        coalitions=[coalitions, 0],
        reference_folder="reference",
        control_folder="(none)",
        distance="fid",
        control_bank=True,
    )
    report = node(
        "CopyScopeShapleyReport", game=["22", 0], show_reference=True, private=False, artist="", examiner="", case=""
    )
    graph = {"22": fid, "23": report}
    if reference_node:
        fid["inputs"].update(reference_folder="(none)", reference=["24", 0])
        graph["24"] = node("CopyScopeLoadReference", folder="reference")
        graph["25"] = node("PreviewImage", "Reference images", images=["24", 1])
    return graph


def sd15(checkpoint: str, loras: list[str], positive: str, **changes: Any) -> Graph:
    """Checkpoint → LoRAs (10, 11) → prompts (4, 5) → empty latent (6)."""
    graph = {"1": node("CheckpointLoaderSimple", ckpt_name=checkpoint)}
    last = "1"
    for index, lora in enumerate(loras):
        strength = {"strength_model": 0.8, "strength_clip": 0.8}
        graph[str(10 + index)] = node("LoraLoader", model=[last, 0], clip=[last, 1], lora_name=lora, **strength)
        last = str(10 + index)
    return {
        **graph,
        "4": node("CLIPTextEncode", "Positive prompt", text=positive, clip=[last, 1]),
        "5": node("CLIPTextEncode", "Negative prompt", text="blurry, text, watermark", clip=[last, 1]),
        "6": node("EmptyLatentImage", width=512, height=512, batch_size=1),
        **sampling([last, 0], ["6", 0], ["4", 0], ["5", 0], **changes),
    }


def quick_start() -> Description:
    graph = sd15(FINE_TUNED, [STYLE], f"a harbour at dusk, fishing boats, {PHRASE}, soft brush strokes")
    graph |= audit(baseline_checkpoint=SD15, lock="prompt")
    columns = [["1", "10"], ["4", "5"], ["6", "7"], ["8", "9"]]
    return Description(graph, columns, "the **checkpoint** (against plain SD 1.5) and the **LoRA**: 4 coalitions")


def two_loras() -> Description:
    graph = sd15(SD15, [STYLE, CHARACTER], f"a fox in a snowy forest, {PHRASE}, watercolour")
    graph |= audit(key_prompts=PHRASE)
    columns = [["1", "10", "11"], ["4", "5"], ["6", "7"], ["8", "9"]]
    return Description(graph, columns, "both **LoRAs** and the **artist's name** in the prompt: 8 coalitions")


def controlnet_lora_prompt() -> Description:
    graph = sd15(SD15, [STYLE], "portrait of a woman, mona_lisa, da Leonardo da vinci, oil painting, soft light")
    graph |= {
        "2": node("LoadImage", "Hint image", image="example.png"),
        "3": node("Canny", image=["2", 0], low_threshold=0.4, high_threshold=0.8),
        "12": node("ControlNetLoader", control_net_name="control_v11p_sd15_canny_fp16.safetensors"),
        "13": node("ControlNetApplyAdvanced", positive=["4", 0], negative=["5", 0], control_net=["12", 0],
                   image=["3", 0], strength=0.9, start_percent=0.0, end_percent=1.0, vae=["1", 2]),
    }  # fmt: skip
    graph["7"]["inputs"].update(positive=["13", 0], negative=["13", 1])
    graph |= audit(key_prompts="da Leonardo da vinci\nmona_lisa")
    columns = [["1", "10", "2"], ["4", "5", "12", "3"], ["13", "6"], ["7"], ["8", "9"]]
    return Description(graph, columns, "the **LoRA**, the **ControlNet** and **two phrases**: 16 coalitions")


def separate_vae() -> Description:
    graph = sd15(FINE_TUNED, [STYLE], f"a market street in the rain, {PHRASE}, oil on canvas")
    graph["2"] = node("VAELoader", vae_name="vae-ft-mse-840000-ema-pruned.safetensors")
    graph["8"]["inputs"]["vae"] = ["2", 0]
    graph |= audit(baseline_checkpoint=SD15, lock="prompt")
    columns = [["1", "10", "2"], ["4", "5"], ["6", "7"], ["8", "9"]]
    measures = "the **checkpoint**, the **LoRA** and the **VAE** (against the checkpoint's own): 8 coalitions"
    return Description(graph, columns, measures)


def sdxl() -> Description:
    graph = sd15("sd_xl_base_1.0.safetensors", ["artist-style-sdxl.safetensors"], f"a lighthouse in a storm, {PHRASE}")
    graph["6"]["inputs"].update(width=1024, height=1024)
    graph["7"]["inputs"].update(steps=25, cfg=6.5)
    graph |= audit(reference_node=True, key_prompts=PHRASE)
    columns = [["1", "10"], ["4", "5"], ["6", "7"], ["8", "9"]]
    return Description(graph, columns, "the **LoRA** and the **artist's name** in the prompt: 4 coalitions")


def flux() -> Description:
    graph = {
        "1": node("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default"),
        "2": node("DualCLIPLoader", clip_name1="t5xxl_fp8_e4m3fn.safetensors", clip_name2="clip_l.safetensors",
                  type="flux", device="default"),
        "3": node("VAELoader", vae_name="ae.safetensors"),
        "10": node("LoraLoaderModelOnly", model=["1", 0], lora_name="artist-style-flux.safetensors",
                   strength_model=0.9),
        "4": node("CLIPTextEncode", "Prompt", text=f"A lighthouse on a cliff at sunrise, {PHRASE}.", clip=["2", 0]),
        "11": node("FluxGuidance", conditioning=["4", 0], guidance=3.5),
        "5": node("ConditioningZeroOut", conditioning=["4", 0]),
        "6": node("EmptySD3LatentImage", width=1024, height=1024, batch_size=1),
        **sampling(["10", 0], ["6", 0], ["11", 0], ["5", 0], cfg=1.0, sampler_name="euler", scheduler="simple"),
    }  # fmt: skip
    graph["8"]["inputs"]["vae"] = ["3", 0]
    graph |= audit(key_prompts=PHRASE)
    columns = [["1", "2", "3"], ["10", "4"], ["11", "5", "6"], ["7"], ["8", "9"]]
    return Description(graph, columns, "the **LoRA** and the **artist's name** in the prompt: 4 coalitions")


def loader_coalitions() -> Description:
    stack: dict[str, Any] = {}
    for slot in range(1, 7):
        stack |= {f"lora_{slot}": STYLE if slot == 1 else "(none)", f"strength_{slot}": 0.8 if slot == 1 else 1.0}
    graph = {
        "21": node("CopyScopeLoaderCoalitions", checkpoint=FINE_TUNED, baseline_checkpoint=SD15, vae="(none)",
                   positive=f"a harbour at dusk, fishing boats, {PHRASE}", negative="blurry, text, watermark",
                   key_prompts=PHRASE, width=512, height=512, batch_size=1, seed=20240501, seeds=8, steps=20, cfg=7.0,
                   sampler_name="dpmpp_2m", scheduler="karras", **stack, max_coalitions=256),
        **scoring("21"),
    }  # fmt: skip
    return Description(graph, [], "the **checkpoint**, the **LoRA** and the **artist's name**: 8 coalitions")


WORKFLOWS = {
    "quick-start": quick_start,
    "two-loras": two_loras,
    "controlnet-lora-prompt": controlnet_lora_prompt,
    "separate-vae": separate_vae,
    "sdxl": sdxl,
    "flux": flux,
    "loader-coalitions": loader_coalitions,
}


def note(description: Description) -> str:
    """Three lines that say what to do."""
    where = "**CopyScope Load Reference**" if "24" in description.graph else "**CopyScope FID**"
    models = "in **CopyScope Loader Coalitions**" if not description.columns else "above, and in **CopyScope Players**"
    return (
        f"1. Put the rights holder's images into `ComfyUI/input/reference` (or choose another folder in {where}).\n"
        f"2. Choose your models and prompt {models}. This one measures {description.measures}, 8 seeds each.\n"
        "3. Press **Run**. The answer appears in **CopyScope Shapley Report**; *Open full report* shows the evidence."
    )


BUILD = """async ({graph, rows, groups, note, noteSize, reportSize, margin, gap, title}) => {
    await window.app.loadApiJson(graph, 'workflow')
    const root = window.app.graph
    const add = (type, id) => {
        const made = LiteGraph.createNode(type)
        made.id = id
        root.add(made)
        return made
    }
    const text = add('MarkdownNote', 30)
    text.title = 'What to do'
    text.widgets[0].value = note
    text.size = noteSize
    for (const node of root.nodes) {
        for (const widget of node.widgets ?? []) if (widget.name === 'control_after_generate') widget.value = 'fixed'
        if (node.type !== 'MarkdownNote') node.size = node.computeSize()
        node.size[0] = Math.max(node.size[0], 340)
        if (node.type === 'CLIPTextEncode') node.size = [400, 150]
        if (node.type === 'SaveImage') node.size = [340, 330]
        if (node.type === 'LoadImage') node.size = [320, 400]
        if (node.type === 'PreviewImage') node.size = [340, 260]
        if (node.type === 'CopyScopeCoalitionEnumerator') node.size[1] += 104 // room for the progress of a run
        if (node.type === 'CopyScopePlayers') node.size = [420, 470]
        if (node.type === 'CopyScopeLoaderCoalitions') node.size = [420, 1020]
        if (node.type === 'CopyScopeShapleyReport') node.size = reportSize
    }
    let top = 0
    rows.forEach((columns, row) => {
        if (!columns.length) return
        let x = margin, bottom = top
        for (const column of columns) {
            let y = top + 44 + margin, width = 0
            for (const id of column) {
                const node = root.getNodeById(id)
                node.pos = [x, y + title]
                y += node.size[1] + title + gap
                if (node.type === 'CopyScopeCoalitionEnumerator') y += 200 // and of one that runs until it is sure
                width = Math.max(width, node.size[0])
            }
            x += width + gap * 1.4
            bottom = Math.max(bottom, y - gap + margin)
        }
        const group = new LiteGraph.LGraphGroup(groups[row][0])
        group.color = groups[row][1]
        group.pos = [0, top]
        group.size = [x - gap * 1.4 + margin, bottom - top]
        root.add(group)
        top = bottom + gap
    })
    const widest = Math.max(...root.groups.map((group) => group.size[0]))
    for (const group of root.groups) group.size = [widest, group.size[1]]
    const report = root.nodes.find((node) => node.type === 'CopyScopeShapleyReport')
    const last = root.groups.at(-1)
    report.size = [
        Math.max(reportSize[0], widest - margin - report.pos[0]),
        Math.max(reportSize[1], last.pos[1] + last.size[1] - margin - report.pos[1]),
    ]
    return JSON.parse(JSON.stringify(root.serialize()))
}"""


def build(page: Page, name: str, description: Description) -> dict[str, Any]:
    """The workflow in UI format, made by the front end and laid out."""
    if not description.columns:
        audit_columns = [["21"], ["22", "30"], ["23"]]
    elif "24" in description.graph:
        audit_columns = [["30", "20"], ["21", "24"], ["22", "25"], ["23"]]
    else:
        audit_columns = [["30", "20"], ["21", "22"], ["23"]]
    ui: dict[str, Any] = page.evaluate(
        BUILD,
        {
            "graph": description.graph,
            "rows": [description.columns, audit_columns],
            "groups": [["Your workflow", "#3f789e"], ["CopyScope audit", "#88558a"]],
            "note": note(description),
            "noteSize": [420, 230],
            "reportSize": list(REPORT_SIZE),
            "margin": MARGIN,
            "gap": GAP,
            "title": TITLE,
        },
    )
    for item in ui["nodes"]:
        item.pop("widgets_values_named", None)  # of newer front ends, which read the list as well
        item["properties"] = {"Node name for S&R": item["type"]} if item["type"] != "MarkdownNote" else {}
        for socket in item.get("inputs", []) + item.get("outputs", []):
            socket.pop("localized_name", None)
            if isinstance(socket.get("widget"), dict):
                socket["widget"] = {"name": socket["widget"]["name"]}
    ui["nodes"].sort(key=lambda item: int(item["id"]))
    identity = f"c0b75c09-e000-4000-8000-{sorted(WORKFLOWS).index(name):012d}"
    return {**ui, "id": identity, "revision": 0, "extra": {"copyscope": {"workflow": name}}}


def pictured(name: str) -> Description:
    """What is run for a workflow's picture: the workflow itself, or for Flux a graph that the zoo's models fit."""
    description = WORKFLOWS["sdxl" if name == "flux" else name]()
    if name == "flux":
        description.graph["10"]["inputs"]["lora_name"] = "artist-style-flux.safetensors"
    graph = description.graph
    (graph["21"] if name == "loader-coalitions" else graph["4"])["inputs"].update(
        {"positive" if name == "loader-coalitions" else "text": PICTURE_TEXTS[name]}
    )
    return description


def comparable(graph: Graph) -> dict[str, Any]:
    """Class and inputs of every node."""
    return {key: (item["class_type"], item["inputs"]) for key, item in graph.items()}


def check(page: Page, name: str, ui: dict[str, Any], expected: Graph) -> None:
    """Open the UI file and insist that it is whole and sends the API graph."""
    frontend.load_ui(page, ui)
    answer = frontend.graph_to_prompt(page)
    for key, item in answer.items():
        item["inputs"] = {field: value for field, value in item["inputs"].items() if field != "control_after_generate"}
        if comparable(answer)[key] != comparable(expected).get(key):
            raise SystemExit(f"{name}: node {key} sends {item}, described as {expected.get(key)}")
    if set(answer) != set(expected) or frontend.missing_nodes(page):
        raise SystemExit(f"{name}: nodes differ: {set(answer) ^ set(expected)}, {frontend.missing_nodes(page)}")


def picture(page: Page, server: Server, path: Path, name: str) -> None:
    """A JPEG of the report that a run of the workflow gives."""
    frontend.load_ui(page, build(page, name, pictured(name)))
    frontend.set_widgets(page, {**SMALL, **WEAK_HINT, "strength_model": 1.0, "strength_clip": 1.0})
    frontend.queue(page)
    page.locator(".cs-headline").or_(page.locator("[data-state=stopped]")).first.wait_for(timeout=3 * WAIT)
    if not page.locator(".cs-headline").count():
        raise SystemExit(
            f"{name}: the run stopped; see the log of ComfyUI in {server.log}:\n{server.log_text()[-3000:]}"
        )
    page.wait_for_function("() => document.querySelector('.cs-detail img')?.naturalWidth > 0", timeout=30_000)
    # As small as a template's picture is shown, sentences cannot be read.
    page.add_style_tag(content=".cs-headline, .cs-warnings, .cs-locked, .cs-report footer { display: none }")
    nodes = frontend.serialize(page)["nodes"]
    report = next(int(item["id"]) for item in nodes if item["type"] == "CopyScopeShapleyReport")
    width, height = PICTURE_NODE
    frontend.close_up(page, report, PICTURE_NODE, PICTURE_WIDTH)
    height += page.locator(".cs-report").evaluate("(panel) => panel.scrollHeight - panel.clientHeight")
    frontend.close_up(page, report, (width, height), PICTURE_WIDTH)
    panel = Image.open(io.BytesIO(page.locator(".cs-report").screenshot())).convert("RGB")
    side = max(panel.width, panel.height + PICTURE_TOP)
    image = Image.new("RGB", (side, side), panel.getpixel((panel.width // 2, 4)))
    image.paste(panel, ((side - panel.width) // 2, (side - panel.height + PICTURE_TOP) // 2))
    for quality in range(88, 40, -6):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
        if buffer.tell() <= PICTURE_BYTES:
            break
    path.write_bytes(buffer.getvalue())


def pale_autoencoder(folder: Path, name: str) -> None:
    """The zoo's autoencoder with four fifths of the light, as a file of its own."""
    prefix, tensors = "first_stage_model.", {}
    with safe_open(folder / "checkpoints" / "v1-5-pruned-emaonly-fp16.safetensors", "pt") as file:
        for key in file.keys():  # noqa: SIM118 - not a mapping
            if key.startswith(prefix):
                tensors[key.removeprefix(prefix)] = file.get_tensor(key)
    for key in [key for key in tensors if key.startswith(f"taesd_decoder.{LAST_LAYER}.")]:
        tensors[key] = tensors[key] * 0.8
    save_atomic(folder / f"{name}.safetensors", tensors, {})


def dump(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main(names: list[str]) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as fast for models this small, and faster on a busy machine
    with tempfile.TemporaryDirectory(prefix="copyscope-workflows-") as folder, sync_playwright() as playwright:
        base = Path(folder)
        export_as(base / "models", ZOO)
        pale_autoencoder(base / "models", VAE)
        make_files(base / "models")
        make_reference(base / "input")
        shutil.copytree(REFERENCE, base / "input" / "reference", dirs_exist_ok=True)
        for path in (base / "input" / "reference").glob("work-*"):
            path.unlink()
        with start_server(base) as server:
            chromium = frontend.find_chromium()
            browser = playwright.chromium.launch(executable_path=chromium, args=frontend.CHROMIUM_FLAGS)
            for name in names or WORKFLOWS:
                page = frontend.open_frontend(browser, server)
                description = WORKFLOWS[name]()
                ui = build(page, name, description)
                check(page, name, ui, description.graph)
                dump(FOLDER / f"{TITLES[name]}.json", ui)
                dump(FOLDER / "api" / f"{name}.json", description.graph)
                picture(page, server, FOLDER / f"{TITLES[name]}.jpg", name)
                page.context.close()
                size = (FOLDER / f"{TITLES[name]}.jpg").stat().st_size
                print(f"{name}: {len(description.graph)} nodes, {size} bytes", flush=True)
            browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
