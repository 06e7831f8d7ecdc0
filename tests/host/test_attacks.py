"""A visitor who tries to get more out of the pack's routes and nodes than they give, on a real host."""

from __future__ import annotations

import json
import pickle
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hostutil import Server
from images_on_disk import image_folder

from .audits import audited, plain


def ask(server: Server, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """Status and body of an answer."""
    sent = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    try:
        with urllib.request.urlopen(urllib.request.Request(server.url + path, body, sent), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_page_of_another_origin_is_refused(mini_server: Server) -> None:
    body = json.dumps({"files": []}).encode()
    assert ask(mini_server, "/copyscope/hashes", body, Origin="http://evil.example")[0] == 403
    assert ask(mini_server, "/copyscope/runs/0123456789abcdef/report.json", Origin="http://evil.example")[0] == 403
    assert ask(mini_server, "/copyscope/hashes", body, Origin=mini_server.url)[0] == 200


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"{}", b'{"files": 1}', b'{"files": [1]}', b"\xff", b"[" * 100_000,
                                  json.dumps({"files": ["a"] * 1001}).encode()])  # fmt: skip
def test_odd_requests_are_refused(mini_server: Server, body: bytes) -> None:
    assert ask(mini_server, "/copyscope/hashes", body)[0] == 400


def test_only_listed_models_are_hashed_and_pickles_are_never_opened(mini_server: Server, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    folder = mini_server.base_dir / "models" / "embeddings"
    folder.mkdir(exist_ok=True)
    bomb = folder / "bomb.pt"
    bomb.write_bytes(pickle.dumps(Bomb()))
    try:
        names = ["bomb.pt", "../../comfyui.log", "/etc/passwd", "..\\..\\comfyui.log", "\0", "", "~/x.pt", "\ud800"]
        status, answer = ask(mini_server, "/copyscope/hashes", json.dumps({"files": names}).encode())
        found = json.loads(answer)["files"]
    finally:
        bomb.unlink()
    assert status == 200
    assert len(found["bomb.pt"]["sha256"]) == 64
    assert [found[name] for name in names[1:]] == [None] * (len(names) - 1)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "name", ["..", "../", ".", "ref/..", "ref/../..", "/etc", "leads-out", "leads-out/deeper", "a\0b"]
)
def test_reference_folders_lie_in_the_input_folder(mini_server: Server, tmp_path: Path, name: str) -> None:
    image_folder(tmp_path / "secret" / "deeper", 3)
    link = mini_server.base_dir / "input" / "leads-out"
    link.symlink_to(tmp_path / "secret", target_is_directory=True)
    try:
        workflow = audited(plain(), reference=name)
        del workflow["9"]  # the host would go on with an output that is right
        status, answer = ask(mini_server, "/prompt", json.dumps({"prompt": workflow}).encode())
    finally:
        link.unlink()
    assert status == 400
    assert b"input folder" in answer


def test_images_that_lead_out_of_a_reference_folder_are_refused(mini_server: Server, tmp_path: Path) -> None:
    image_folder(tmp_path, 1)
    folder = image_folder(mini_server.base_dir / "input" / "with-link", 2)
    (folder / "link.png").symlink_to(tmp_path / "000.png")
    workflow = audited(plain(), seeds=1, reference="with-link")
    del workflow["9"]
    try:
        status, answer = ask(mini_server, "/prompt", json.dumps({"prompt": workflow}).encode())
    finally:
        shutil.rmtree(folder)
    assert status == 400
    assert b"links that lead out" in answer
