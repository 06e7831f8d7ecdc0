import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from copyscope_core.controls.bank import BankWork
from copyscope_core.controls.choose import choose_controls, picture_bits, same_pictures
from copyscope_core.errors import GameError


def works(*kinds: tuple[str, int]) -> list[BankWork]:
    """So many works of each kind, each by a hand of its own."""
    names = [kind for kind, count in kinds for _ in range(count)]
    return [
        BankWork(file=f"{place}.webp", kind=kind, title="", artist=f"hand {place}", licence="CC0-1.0", sha256="")
        for place, kind in enumerate(names)
    ]


def cloud(count: int, centre: float, seed: int) -> np.ndarray:
    """(count, 16) features around a point."""
    return np.random.default_rng(seed).normal(centre, 1, (count, 16))


BANK = works(("print", 25), ("photograph", 25), ("painting", 12))
FEATURES = np.concatenate([cloud(25, 0, 1), cloud(25, 9, 2), cloud(12, 3, 3)])


def test_whole_kinds_are_chosen_nearest_first_until_there_are_enough() -> None:
    one = choose_controls(BANK, FEATURES, cloud(3, 9, 4))
    assert one.kinds == ("photograph",)
    assert one.used == tuple(range(25, 50))
    assert one.left_out == {}
    two = choose_controls(BANK, FEATURES, cloud(3, 3, 5))
    assert two.kinds == ("painting", "print")
    assert two.used == (*range(25), *range(50, 62))


def test_one_reference_is_enough_and_the_same_again_gives_the_same() -> None:
    reference = cloud(1, 9, 6)
    assert choose_controls(BANK, FEATURES, reference) == choose_controls(BANK, FEATURES, reference)
    assert choose_controls(BANK, FEATURES, reference).kinds[0] == "photograph"


def test_a_work_nearer_to_a_reference_than_any_two_works_are_is_left_out() -> None:
    reference = np.concatenate([cloud(2, 9, 7), FEATURES[30:31] + 0.01])
    choice = choose_controls(BANK, FEATURES, reference)
    assert choice.left_out == {30: "resembles_reference"}
    assert choice.used == tuple(place for place in range(25, 50) if place != 30)


def test_works_by_the_hand_of_one_that_is_left_out_are_left_out_too() -> None:
    bank = [work.model_copy(update={"artist": "unknown" if place in (0, 1) else work.artist})
            for place, work in enumerate(BANK)]  # fmt: skip
    bank[40] = bank[40].model_copy(update={"artist": bank[30].artist})
    choice = choose_controls(bank, FEATURES, cloud(2, 9, 8), same=[0, 30])
    assert choice.left_out == {0: "same_picture", 30: "same_picture", 40: "same_artist"}


def test_nothing_left_and_wrong_shapes_are_said() -> None:
    with pytest.raises(GameError, match="Every work of the control bank resembles the reference"):
        choose_controls(BANK, FEATURES, cloud(1, 0, 1), same=range(len(BANK)))
    with pytest.raises(GameError, match="do not fit a bank of 62 works"):
        choose_controls(BANK, FEATURES[1:], cloud(1, 0, 1))
    with pytest.raises(GameError, match="do not fit"):
        choose_controls(BANK, FEATURES, np.empty((0, 16)))


def picture(seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((270, 240), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((90, 80)),
        lambda image: image.convert("L").convert("RGB"),
        lambda image: ImageEnhance.Brightness(image).enhance(0.8),
        ImageOps.mirror,
    ],
    ids=["scaled", "grey", "darker", "mirrored"],
)
def test_a_changed_copy_is_the_same_picture_and_another_is_not(change) -> None:
    bank = np.stack([picture_bits(np.asarray(picture(seed))) for seed in range(5)])
    copy = picture_bits(np.asarray(change(picture(3))))
    assert same_pictures(bank, copy[None]) == (3,)
    assert same_pictures(bank, picture_bits(np.asarray(picture(9)))[None]) == ()
