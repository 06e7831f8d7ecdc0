"""UI-format workflows that grow by a size: nested subgraphs, rows of reroutes, promoted widgets."""

from __future__ import annotations

from typing import Any

LATENT = {"name": "LATENT", "type": "LATENT"}
WIDGETS = ["width", "height", "batch_size"]


def ui_node(number: int, kind: str, **changed: Any) -> dict[str, Any]:
    return {"id": number, "type": kind, "mode": 0, "inputs": [], "outputs": [], **changed}


def ui_input(name: str, kind: str, link: int | None = None) -> dict[str, Any]:
    return {"name": name, "type": kind, "link": link}


def empty_latent(number: int, **changed: Any) -> dict[str, Any]:
    return ui_node(number, "EmptyLatentImage", outputs=[LATENT], widgets_values=[64, 32, 2], **changed)


def sampler(number: int, link: int) -> dict[str, Any]:
    """A sampler whose latent comes by ``link``."""
    inputs = [ui_input("latent_image", "LATENT", link)]
    return ui_node(number, "KSampler", inputs=inputs, widgets_values=[1, "fixed", 4, 7, "euler", "normal", 1])


def nested(levels: int, uses: int) -> dict[str, Any]:
    """Subgraph definitions, each of which uses the next so many times; the last holds an empty latent."""
    definitions = [
        {
            "id": f"level{level}",
            "name": f"level {level}",
            "nodes": [ui_node(number, f"level{level + 1}") for number in range(uses)],
            "links": [],
        }
        for level in range(levels - 1)
    ]
    definitions.append({"id": f"level{levels - 1}", "name": "last", "nodes": [empty_latent(1)], "links": []})
    return {"nodes": [ui_node(1, "level0")], "links": [], "definitions": {"subgraphs": definitions}}


def promoted(levels: int) -> dict[str, Any]:
    """Nested subgraphs that promote the widgets of the innermost node all the way up."""
    definitions = []
    for level in range(levels):
        inputs = [ui_input(name, "INT", place) for place, name in enumerate(WIDGETS)]
        last = level == levels - 1
        inner = empty_latent(1, inputs=inputs) if last else ui_node(1, f"level{level + 1}", inputs=inputs)
        links = [
            {"id": place, "origin_id": -10, "origin_slot": place, "target_id": 1, "target_slot": place}
            for place in range(len(WIDGETS))
        ]
        definitions.append(
            {
                "id": f"level{level}",
                "name": f"level {level}",
                "inputs": [{"name": name, "type": "INT"} for name in WIDGETS],
                "outputs": [LATENT],
                "nodes": [{**inner, "widgets_values": [64, 32, 2]}],
                "links": [*links, {"id": 9, "origin_id": 1, "origin_slot": 0, "target_id": -20, "target_slot": 0}],
            }
        )
    top = ui_node(1, "level0", inputs=[ui_input(name, "INT") for name in WIDGETS], widgets_values=[128, None, 4])
    return {"nodes": [top, sampler(2, 1)], "links": [[1, 1, 0, 2, 0, "LATENT"]],
            "definitions": {"subgraphs": definitions}}  # fmt: skip


def reroutes(count: int, samplers: int = 1, kind: str = "Reroute", **changed: Any) -> dict[str, Any]:
    """An empty latent, so many reroutes (or other nodes) in a row, and samplers at their end."""
    nodes = [empty_latent(0)]
    links: list[list[Any]] = []
    for number in range(1, count + 1):
        nodes.append(ui_node(number, kind, inputs=[ui_input("x", "*", number)], outputs=[LATENT], **changed))
        links.append([number, number - 1, 0, number, 0, "*"])
    for number in range(count + 1, count + 1 + samplers):
        nodes.append(sampler(number, number))
        links.append([number, count, 0, number, 0, "LATENT"])
    return {"nodes": nodes, "links": links}
