"""Write ``copyscope_core/workflow/object_info.json``: the types of ComfyUI's own nodes, from a running server.

    python -m tools.make_node_snapshot http://127.0.0.1:8188      (or a saved /object_info)

Run it against a server that has no custom nodes. File lists, tooltips and defaults are left out.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "copyscope_core" / "workflow" / "object_info.json"


def slim_input(spec: list[Any]) -> list[Any]:
    kind = "COMBO" if isinstance(spec[0], list) else spec[0]
    extra = spec[1] if len(spec) > 1 else {}
    kept = {name: True for name in ("image_upload",) if extra.get(name)}
    return [kind, kept] if kept else [kind]


def slim(raw: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "input": {
            group: {name: slim_input(raw["input"][group][name]) for name in raw["input_order"].get(group, [])}
            for group in ("required", "optional")
            if raw["input"].get(group)
        },
        "output": ["COMBO" if isinstance(kind, list) else kind for kind in raw["output"]],
        "display_name": raw["display_name"],
    }
    for flag in ("output_node", "api_node"):
        if raw.get(flag):
            result[flag] = True
    return result


def main() -> None:
    source = sys.argv[1]
    if Path(source).is_file():
        info = json.loads(Path(source).read_text(encoding="utf-8"))
    else:
        with urllib.request.urlopen(source.rstrip("/") + "/object_info") as answer:
            info = json.load(answer)
    lines = [f"{json.dumps(name)}: {json.dumps(slim(raw))}" for name, raw in sorted(info.items())]
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")
    print(f"{len(lines)} node classes, {TARGET.stat().st_size:,} bytes → {TARGET}")


if __name__ == "__main__":
    main()
