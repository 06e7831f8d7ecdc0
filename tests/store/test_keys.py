from example_workflows import node, with_lora

from copyscope_core.store.keys import RunContext, file_names, launch_flags
from copyscope_core.workflow.graph import Link, parse_graph

NODES = list(parse_graph(with_lora()).values())
D, E = Link("d", 0), Link("d", 1)


def context(token="t", **files):
    return RunContext({"comfyui": "0.8.0"}, files or {"dream.safetensors": "a", "style.safetensors": "b"}, token)


def test_key_depends_on_graph_files_and_environment() -> None:
    key = context().key(D, NODES)
    assert key == context().key(D, NODES)
    assert key != context().key(E, NODES)
    assert key != context(**{"dream.safetensors": "a", "style.safetensors": "c"}).key(D, NODES)
    assert key != RunContext({"comfyui": "0.9.0"}, context().files, "t").key(D, NODES)
    assert len({key, *(context().key(D, NODES, frames) for frames in (0, 4, 8))}) == 4


def test_token_counts_only_where_a_file_is_not_hashed() -> None:
    assert context(token="1").key(D, NODES) == context(token="2").key(D, NODES)
    partial = {"dream.safetensors": "a", "style.safetensors": None}
    assert context(token="1", **partial).key(D, NODES) != context(token="2", **partial).key(D, NODES)


def test_file_names() -> None:
    graph = parse_graph({"1": node("LoadImage", image="sub/x.PNG [input]"),
                         "2": node("Stack", lora_1={"on": True, "lora": "a.safetensors"}, text="x")})  # fmt: skip
    assert file_names(graph.values()) == ["a.safetensors", "sub/x.PNG [input]"]
    odd = ["a, b.png", "foo [1].png", "foo [1].png [output]", "x.jfif"]
    graph = parse_graph({name: node("LoadImage", image=name) for name in [*odd, "a wave, by hokusai", "png"]})
    assert file_names(graph.values()) == odd


def test_launch_flags_keep_what_may_change_images() -> None:
    argv = [
        "main.py",
        "--cpu",
        "--port",
        "8188",
        "--listen",
        "--fp32-vae",
        "--base-directory=/x",
        "--reserve-vram",
        "2",
    ]
    assert launch_flags(argv) == ["--cpu", "--fp32-vae", "--reserve-vram 2"]
