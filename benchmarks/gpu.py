"""Everything that is measured on a GPU, in one command and within 10 minutes: a table in Markdown and JSON.

    python -m benchmarks.gpu [--device cuda] [--small] [--comfyui DIR] [--only PARTS] [--minutes 10] [--out gpu-out]

Parts: ``repeat`` (whether features repeat), ``equal`` (CPU and GPU, features and verdict), ``bfloat16``, ``features``
(rates), ``memory`` (an audit in a graph while another process fills the GPU), ``audit`` (a whole audit beside queueing
the same prompts, both on ComfyUI). Each runs in a process of its own, so that one that fails takes no other with it;
what cannot be run stands in the table with the reason. ``make gpu`` installs what is needed and runs it;
``make gpu DEVICE=cpu SMALL=1`` shows on any machine that the parts work. Needs the extra ``dev``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import REPOSITORY, alternate
from copyscope_core.comfyui.host import find_python

Array = np.ndarray
WORKERS = 8
"""Threads that decode, as the goal says."""
HELD = (("plenty", None), ("2 GiB", 2048), ("little", 512), ("hardly any", 128))
"""How much memory of the GPU is left, in words and MiB; None: all that is free."""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        goal: as words; empty: there is none.
        holds: whether the goal is met; None: there is none, or nothing was measured.
    """

    part: str
    what: str
    value: str
    goal: str = ""
    holds: bool | None = None


@dataclass(frozen=True)
class Options:
    """What a part is run with."""

    device: str
    small: bool
    comfyui: Path

    @property
    def flags(self) -> tuple[str, ...]:
        """Of ComfyUI, so that it runs on the same kind of device."""
        return ("--cpu",) if self.device == "cpu" else ()


def rates(options: Options) -> Iterator[Row]:
    """Images a second: the extractor, the bare network, and what decodes for them."""
    from benchmarks.extraction import write_images
    from copyscope_core.features.extractor import InceptionExtractor
    from copyscope_core.features.inception import full_precision, load_inception, network_input
    from copyscope_core.files.images import read_image
    from copyscope_core.files.pixels import Pixels

    count, sizes = (16, (8,)) if options.small else (512, (8, 32, 64, 128, 256))
    network = load_inception(options.device)
    shipped = InceptionExtractor(options.device, model=network).batch_size
    with tempfile.TemporaryDirectory() as name:
        paths = write_images(Path(name), count, 512)

        def decode(path: Path) -> Pixels:
            return read_image(path).pixels

        def decoded() -> list[Pixels]:
            with ThreadPoolExecutor(WORKERS) as pool:
                return list(pool.map(decode, paths))

        pixels = decoded()
        ready = network_input(pixels, options.device)

        def bare(size: int) -> None:
            with full_precision():
                for start in range(0, count, size):
                    network(ready[start : start + size]).cpu()

        def extract(size: int) -> None:
            InceptionExtractor(options.device, size, network)(pixels)

        def both() -> None:
            InceptionExtractor(options.device, model=network)(decoded())

        work: dict[str, Callable[[], object]] = {"decode": decoded, "both": both}
        for size in sizes:
            work |= {f"bare {size}": partial(bare, size), f"ours {size}": partial(extract, size)}
        for run in work.values():  # warm
            run()
        timed = {key: count / value.seconds for key, value in alternate(work, 1 if options.small else 3).items()}
    for size in sizes:
        ours, alone = timed[f"ours {size}"], timed[f"bare {size}"]
        goals = size == shipped
        what = f"batches of {size}{' (as shipped)' if goals else ''}"
        fast = ("3,000 images/s on an H100", ours >= 3000) if goals and options.device != "cpu" else ("", None)
        near = ("90%", ours / alone >= 0.9) if goals else ("", None)
        yield Row("features", f"from decoded 512×512, {what}", f"{ours:,.1f} images/s", *fast)
        yield Row("features", f"network alone, {what}", f"{alone:,.1f} images/s")
        yield Row("features", f"share of the network alone, {what}", f"{ours / alone:.0%}", *near)
    yield Row("features", f"{WORKERS} workers decode PNG 512×512", f"{timed['decode']:,.1f} images/s")
    yield Row("features", "from PNG files, decoded first, as shipped", f"{timed['both']:,.1f} images/s")


def bfloat16(options: Options) -> Iterator[Row]:
    """What bfloat16 would do; it is not offered."""
    from studies.bfloat16 import compare

    compared = compare(options.device, 3 if options.small else None)
    plain, short = compared.rates
    yield Row("bfloat16", "network, float32 and bfloat16", f"{plain:,.1f} and {short:,.1f} images/s")
    moved = {what: values[1] / values[0] - 1 for what, values in compared.fids.items()}
    worst = max(moved, key=lambda what: abs(moved[what]))
    yield Row("bfloat16", f"FID moved most, {worst}", f"{moved[worst]:+.2%}", "0.1%", abs(moved[worst]) <= 1e-3)


def pictures(options: Options) -> list[Any]:
    """Decoded images of the demo: all, or a few."""
    from copyscope_core.demo.demo import IMAGES
    from copyscope_core.files.folders import read_folder

    folders = sorted(folder for folder in IMAGES.iterdir() if folder.is_dir())
    images = [image.pixels for folder in folders[: 2 if options.small else None] for image in read_folder(folder)]
    return images[: 12 if options.small else None]


def difference(one: Array, other: Array) -> float:
    """The largest difference of two vectors of the same image, as a part of the first one's length."""
    return float((np.linalg.norm(one - other, axis=1) / np.linalg.norm(one, axis=1)).max())


def repeat(options: Options) -> Iterator[Row]:
    """Whether features come out the same twice, and in batches of other sizes."""
    from copyscope_core.features.extractor import InceptionExtractor

    images = pictures(options)
    made = {size: InceptionExtractor(options.device, size)(images) for size in (8, 1, 32)}
    again = InceptionExtractor(options.device, 8)(images)
    same = np.array_equal(made[8], again)
    yield Row(
        "repeat", f"features of {len(images)} images, twice", "bit-equal" if same else "differ", "bit-equal", same
    )
    for size in (1, 32):
        away = difference(made[8], made[size])
        yield Row("repeat", f"batches of {size} beside 8, relative", f"{away:.1e}", "1e-3", away <= 1e-3)


def equal(options: Options) -> Iterator[Row]:
    """CPU and device: features, and the verdict on the demo's images."""
    from copyscope_core.auditing.score import Score
    from copyscope_core.controls.bank import load_bank
    from copyscope_core.demo.demo import IMAGES, REFERENCE
    from copyscope_core.evaluation.measure import Works
    from copyscope_core.features.extractor import InceptionExtractor
    from copyscope_core.files.folders import check_folder

    images = pictures(options)
    devices = ("cpu", options.device)
    one, other = (InceptionExtractor(device)(images) for device in devices)
    away = difference(one, other)
    yield Row("equal", f"features, CPU and {options.device}, relative", f"{away:.1e}", "1e-3", away <= 1e-3)
    works = Works(check_folder(REFERENCE), bank=None if options.small else load_bank())
    reports = []
    with tempfile.TemporaryDirectory() as name:
        for number, device in enumerate(devices):
            reports.append(Score(IMAGES, works, Path(name) / str(number), InceptionExtractor(device)).run().report)
    first, second = reports
    same = (first.verdict.decided, first.verdict.player, first.verdict.first, first.verdict.tied) == (
        second.verdict.decided, second.verdict.player, second.verdict.first, second.verdict.tied
    )  # fmt: skip
    yield Row("equal", "verdict on the demo's images", "the same" if same else "another", "the same", same)
    scale = max(abs(player.shapley or 0) for player in first.players)
    gaps = [abs((a.shapley or 0) - (b.shapley or 0)) for a, b in zip(first.players, second.players, strict=True)]
    yield Row("equal", "Shapley values, of the largest", f"{max(gaps) / scale:.1e}", "1e-2", max(gaps) / scale <= 1e-2)


def audit(options: Options) -> Iterator[Row]:
    """A whole audit beside queueing the same prompts in the same order."""
    from benchmarks import audit as whole

    size, steps, seeds = (64, 1, 1) if options.small else (512, 10, 8)
    words = ["--comfyui", str(options.comfyui), "--device", options.device, "--only", "order,audit",
             "--size", str(size), "--steps", str(steps), "--seeds", str(seeds)]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="copyscope-bench-") as models, contextlib.redirect_stdout(sys.stderr):
        if not options.small:
            make = [find_python(options.comfyui), "-m", "benchmarks.full_size", options.comfyui, models]
            subprocess.run(make, cwd=REPOSITORY, check=True)
            words += ["--models", models]
        ways = whole.run(whole.parse([*words, *(f"--comfyui-arg={flag}" for flag in options.flags)]))
    queued, own = ways["order"], ways["audit"]
    kind = "miniature models" if options.small else "models of SD 1.5's size"
    ratio, plain = own.seconds / queued.seconds, (own.seconds - own.again_seconds) / queued.seconds
    yield Row(
        "audit", f"queued, {16 * seeds} images of {size}×{size}, {steps} steps, {kind}", f"{queued.seconds:.1f} s"
    )
    yield Row("audit", "copyscope audit, the same", f"{own.seconds:.1f} s, {own.again_seconds:.1f} s of it repetitions")
    yield Row("audit", "audit ÷ queueing", f"{ratio:.2f}", "1.03", ratio <= 1.03)
    yield Row("audit", "audit without its repetitions ÷ queueing", f"{plain:.2f}")
    yield Row("audit", "time in which no node of the workflow ran", f"{1 - own.model_seconds / own.seconds:.0%}")
    assert own.report is not None
    apart = own.report.environment.get("run_difference")
    yield Row("audit", "whole workflow run twice, largest difference of a channel", f"{apart} of 255", "0", apart == 0)
    held = all(canary.holds for canary in own.report.canaries)
    worst = max(canary.difference for canary in own.report.canaries)
    yield Row("audit", "canaries, largest difference of a channel", f"{worst} of 255", "as above", held)


def memory(options: Options) -> Iterator[Row]:
    """An audit in a graph while another process leaves ever less of the GPU's memory."""
    from benchmarks.audit import BASELINE, IMAGE, REPORT, copyscope_nodes, prepare_base, workflow
    from copyscope_core.comfyui.client import ComfyClient
    from copyscope_core.comfyui.host import ManagedHost
    from copyscope_core.demo.models import make_model_folder
    from copyscope_core.settings import AuditSettings

    settings = AuditSettings(seeds=1, baseline_checkpoint=BASELINE)
    size, steps = (64, 1) if options.small else (512, 4)
    graph = {name: item for name, item in workflow(steps, size, 1).items() if name != "save"}
    graph |= copyscope_nodes(IMAGE, settings)

    async def report(url: str) -> dict[str, Any]:
        async with ComfyClient(url) as client:
            entry = await client.run(graph)
        found: dict[str, Any] = entry["outputs"][REPORT]["copyscope_report"][0]
        return found

    expected: list[float] = []
    with tempfile.TemporaryDirectory(prefix="copyscope-bench-") as name:
        folder = Path(name)
        make_model_folder(folder / "models", ["zoo"])
        for number, (words, left) in enumerate(HELD[:1] if options.device == "cpu" else HELD):
            base = prepare_base(folder / str(number), folder / "models", pack=True)
            log = base / "comfyui.log"
            with ManagedHost(options.comfyui, options.flags, log, base) as host, filled(left):
                try:
                    fids = [item["fid"] for item in asyncio.run(report(host.url))["coalitions"]]
                except Exception as error:  # noqa: BLE001 - what ended it is the result
                    yield Row("memory", f"audit in a graph, {words} free", f"failed: {error}"[:200], "finished", False)
                    continue
            told = log.read_text(encoding="utf-8", errors="replace")
            how = "the CPU took over" if "the CPU takes over" in told else "smaller batches"
            how = how if "do not fit into the device's memory" in told else "as ever"
            expected = expected or fids
            away = max(abs(a / b - 1) for a, b in zip(fids, expected, strict=True))
            value = f"finished, features {how}, FIDs within {away:.0e}"
            yield Row("memory", f"audit in a graph, {words} free", value, "finished, 1e-3", away <= 1e-3)
    if options.device == "cpu":
        yield Row("memory", "audit in a graph, little free", "not run: a CPU's memory is not filled here")


@contextlib.contextmanager
def filled(left: int | None) -> Iterator[None]:
    """Another process holds the GPU's memory but for so many MiB."""
    if left is None:
        yield
        return
    code = (
        "import sys, torch\n"
        "free = torch.cuda.mem_get_info()[0] - (int(sys.argv[1]) << 20)\n"
        "held = torch.empty(max(free, 0), dtype=torch.uint8, device='cuda')\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(left)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.stdin.close()
            process.wait()


PARTS: dict[str, Callable[[Options], Iterator[Row]]] = {
    "repeat": repeat, "equal": equal, "bfloat16": bfloat16, "features": rates, "memory": memory, "audit": audit,
}  # fmt: skip
ON_COMFYUI = {"audit", "memory"}


def why_not(part: str, options: Options) -> str | None:
    """Why a part cannot be run here; None: it can."""
    import torch

    if options.device != "cpu" and not torch.cuda.is_available():
        return "no CUDA device"
    if part in ON_COMFYUI and not (options.comfyui / "main.py").is_file():
        return f"no ComfyUI in {options.comfyui}"
    return None


def in_process(part: str, options: Options, seconds: float) -> list[Row]:
    """A part's lines, from a process of its own."""
    if (reason := why_not(part, options)) is not None:
        return [Row(part, part, f"not run: {reason}")]
    if seconds <= 0:
        return [Row(part, part, "not run: the time was over")]
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", part, "--device", options.device]
    command += ["--comfyui", str(options.comfyui), *(["--small"] if options.small else [])]
    try:
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=False, timeout=seconds
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        told = error.stdout.decode("utf-8") if isinstance(error.stdout, bytes) else error.stdout or ""
        return [*_rows(told), Row(part, part, "not run to its end: the time was over")]
    rows = _rows(done.stdout)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        rows.append(Row(part, part, f"not run to its end: {last[:200]}", holds=False))
    return rows


def _rows(text: str) -> list[Row]:
    return [Row(**json.loads(line)) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]


def machine(device: str) -> str:
    """What was measured on."""
    import torch

    name = torch.cuda.get_device_name() if device != "cpu" and torch.cuda.is_available() else "no CUDA device used"
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in ("torch", "torchvision"))
    return f"{name}; {os.cpu_count()} cores; Python {platform.python_version()}, {versions}"


def markdown(rows: Sequence[Row], where: str, command: str) -> str:
    """The table."""
    marks = {True: "yes", False: "**no**", None: ""}
    lines = [
        f"`{command}` on {where}",
        "",
        "| part | what | measured | goal | met |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {row.part} | {row.what} | {row.value} | {row.goal} | {marks[row.holds]} |" for row in rows]
    return "\n".join(line.replace("\n", " ") for line in lines) + "\n"


def main() -> None:
    """Run the parts and write the table; with ``--part`` one of them, its lines as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="as little of everything as shows that it works")
    home = Path(os.environ.get("COMFYUI_PATH") or Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--comfyui", type=Path, default=home)
    parser.add_argument("--only", default=",".join(PARTS), help="some of the parts")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all parts together")
    parser.add_argument("--out", type=Path, default=Path("gpu-out"))
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    options = Options(given.device, given.small, given.comfyui.expanduser().absolute())
    if given.part:
        for row in PARTS[given.part](options):
            print(json.dumps(asdict(row)), flush=True)
        return
    end = time.monotonic() + 60 * given.minutes
    rows: list[Row] = []
    for part in given.only.split(","):
        begun = time.monotonic()
        rows += in_process(part, options, end - begun)
        print(f"{part}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    where = machine(options.device)
    command = f"python -m benchmarks.gpu --device {options.device}{' --small' if options.small else ''}"
    given.out.mkdir(parents=True, exist_ok=True)
    table = markdown(rows, where, command)
    (given.out / "gpu.md").write_text(table, encoding="utf-8")
    data = {"command": command, "machine": where, "rows": [asdict(row) for row in rows]}
    (given.out / "gpu.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
