import json
import re
from collections import Counter
from pathlib import Path

import numpy as np

from copyscope_core.controls.bank import PICTURES, TABLE_FILE, load_bank
from copyscope_core.controls.choose import SAME_BITS, picture_bits
from copyscope_core.files.hashes import file_sha256

REPOSITORY = Path(__file__).parents[2]
TABLE = json.loads(TABLE_FILE.read_text(encoding="utf-8"))
TESTED = json.loads((REPOSITORY / "tools" / "style_zoo" / "works.json").read_text(encoding="utf-8"))


def test_there_are_works_of_several_kinds_and_their_files_are_small() -> None:
    kinds = Counter(work.kind for work in load_bank().works)
    assert sum(kinds.values()) >= 80
    assert set(kinds) == {"painting", "print", "illustration", "photograph", "generated"}
    assert min(count for kind, count in kinds.items() if kind != "print") >= 20
    assert 1_500_000 < sum(path.stat().st_size for path in PICTURES.iterdir()) < 4_000_000


def test_the_folder_holds_the_pictures_of_the_table_as_they_were_made() -> None:
    hashes = {work["file"]: work["sha256"] for work in TABLE["works"]}
    assert {path.name: file_sha256(path) for path in PICTURES.glob("*.webp")} == hashes
    for image in load_bank().images:
        assert max(image.pixels.shape) <= 384


def test_every_work_has_its_attribution_and_a_licence_that_allows_changes() -> None:
    text = (TABLE_FILE.parent / "LICENCES.md").read_text(encoding="utf-8")
    free = re.compile(r"(CC0-1\.0|CC-BY(-SA)?-[\d.]+|GPL-[23]\.0-or-later|MIT|public domain)( \(.*\))?\Z")
    for work in TABLE["works"]:
        assert free.match(work["licence"]), work
        assert all(work[name] for name in ("title", "artist", "path", "kind"))
        assert work["package"] in TABLE["packages"]
        assert f"| `{work['file']}` | {work['title']} | {work['artist']} | {work['kind']} |" in text
    assert text.count("\n| `") == len(TABLE["works"])


def test_no_artist_is_in_it_whom_the_projects_evaluations_test_on() -> None:
    artists = {work["artist"] for work in TABLE["works"]}
    tested = {artist["name"] for artist in TESTED["artists"].values() if artist["role"] != "control"}
    planted = {"Giuseppe Arcimboldo", "Utagawa Hiroshige", "Katsushika Hokusai", "Pierre-Auguste Renoir"}
    planted |= {"Frédéric Bazille", "Giovanni Bellini", "Mary Cassatt", "Wassily Kandinsky", "Vincent van Gogh"}
    assert not artists & (tested | planted | {"Philip Barber", "thespaceinvader"})
    assert not any("thespaceinvader" in work["path"] for work in TABLE["works"])
    used = {work["path"] for work in TABLE["works"]}
    controls = {name for name, artist in TESTED["artists"].items() if artist["role"] == "control"}
    assert not used & {work["path"] for work in TESTED["works"] if work["artist"] not in controls}


def test_there_are_not_many_works_by_one_hand() -> None:
    hands = Counter(work.hand for work in load_bank().works if work.hand is not None)
    assert max(hands.values()) <= 2


def test_no_two_works_look_alike() -> None:
    bits = np.stack([picture_bits(image.pixels) for image in load_bank().images])
    away = np.count_nonzero(bits[:, None] != bits[None], axis=2)
    assert away[np.triu_indices(len(bits), 1)].min() > SAME_BITS
