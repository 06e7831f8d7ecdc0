"""A ComfyUI newer than any that was tried: the pack says so once in the log, and works."""

from __future__ import annotations

from pathlib import Path

from hostutil import front_end_args, start_server

from copyscope_core.comfyui.versions import TRIED_COMFYUI


def test_a_newer_host_is_told_once_and_used(tmp_path: Path) -> None:
    newer = f"{TRIED_COMFYUI[0]}.{TRIED_COMFYUI[1] + 1}.0"
    pretender = tmp_path / "custom_nodes" / "pretender"
    pretender.mkdir(parents=True)
    (pretender / "prestartup_script.py").write_text(
        "import importlib.metadata\nimport comfyui_version\n"
        f'comfyui_version.__version__ = "{newer}"\nreal = importlib.metadata.version\n'
        'front_end = "comfyui-frontend-package"\n'
        'importlib.metadata.version = lambda name: "99.0.0" if name == front_end else real(name)\n',
        encoding="utf-8",
    )
    (pretender / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}\n", encoding="utf-8")
    with start_server(tmp_path) as server:
        assert "CopyScopeCoalitionEnumerator" in server.get("/object_info/CopyScopeCoalitionEnumerator")
        assert server.log_text().count(f"CopyScope: This is ComfyUI {newer}, newer than") == 1
        if not front_end_args():  # of a front end in a folder the version is not known
            assert "and front end 99.0.0, newer than" in server.log_text()
