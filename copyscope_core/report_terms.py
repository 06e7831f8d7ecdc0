"""What the report's words mean, for readers who are no statisticians: shown on hover and in the glossary."""

from __future__ import annotations

from typing import NamedTuple


class Term(NamedTuple):
    """A word of the report and its meaning."""

    name: str
    meaning: str


TERMS: dict[str, Term] = {
    "fid": Term(
        "FID",
        "Fréchet Inception Distance: how far a set of images is from the reference images, as an image-recognition "
        "network sees them. 0 means alike in every measured respect; smaller is nearer.",
    ),
    "shapley": Term(
        "Contribution φ",
        "Shapley value, in FID points: how far the component moves the images towards the reference, averaged over "
        "every order in which the components could be added. Positive: towards the reference; negative: away from it.",
    ),
    "share": Term(
        "Share",
        "The component's contribution as a part of all contributions, counted without their signs, so that the shares "
        "add up to 100% when signs are ignored.",
    ),
    "loo": Term(
        "Leave-one-out",
        "How many FID points the complete workflow loses when only this component is taken away.",
    ),
    "single": Term(
        "Alone",
        "How many FID points this component gains when it is the only one present.",
    ),
    "ablation": Term(
        "FID without it",
        "The mean FID of all combinations that lack this component (the paper's ablation). Higher: it is missed more.",
    ),
    "mean": Term(
        "Mean part",
        "The part of the contribution that comes from what the images are like on average.",
    ),
    "spread": Term(
        "Spread part",
        "The part of the contribution that comes from how much the images vary (their covariance). A component that "
        "merely makes images more alike can gain here.",
    ),
    "kid": Term(
        "KID",
        "Kernel Inception Distance: a second distance, without FID's bias for few images. Its estimate may be slightly "
        "negative when two sets are alike. A dash: not defined for a single image.",
    ),
    "kid_shapley": Term("KID φ", "The same contribution, measured by KID instead of FID; a check on the ranking."),
    "value": Term(
        "Gain v", "FID with none of the components minus FID with these: how much nearer they bring the images."
    ),
    "coalition": Term("Combination", "A set of components that is present while the others are absent (a coalition)."),
    "absent": Term("When absent", "What the workflow becomes when the component is taken away."),
    "locked": Term("Locked", "Always present, in every combination, so that its own contribution was not measured."),
    "reference": Term("Reference", "The rights holder's images that the workflow's images are compared with."),
    "seed": Term(
        "Seed offset",
        "A number that is added to the workflow's own seed. Every combination uses the same ones, so that chance is "
        "the same for all of them.",
    ),
    "sha256": Term("SHA-256", "A fingerprint of a file or an image: it changes if a single bit does."),
    "autov2": Term("AutoV2", "The first ten digits of a model file's SHA-256, by which model sites list it."),
}
