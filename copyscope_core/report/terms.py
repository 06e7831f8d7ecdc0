"""What the report's words mean, for readers who are no statisticians: shown on hover and in the glossary."""

from __future__ import annotations

from typing import NamedTuple

from ..distances.registry import DISTANCES, DistanceName


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
        "Shapley value, in FID points: how much nearer to the reference, or farther from it, the component brings the "
        "images, averaged over every order in which the components could be added.",
    ),
    "share": Term(
        "Share",
        "The component's contribution as a part of all contributions, counted without their signs, so that the shares "
        "add up to 100% when signs are ignored.",
    ),
    "interval": Term(
        "95% interval",
        "Where the value would probably lie had other seeds been run: of 100 such intervals about 95 hold what many "
        "repetitions with this number of images would give on average. Those of shares are rather too wide than too "
        "narrow. Wide: more seeds are needed.",
    ),
    "largest": Term(
        "Largest?",
        "How probable it is that this component comes first by what the verdict goes by: its contrast where there are "
        "control images, else its contribution.",
    ),
    "apart": Term(
        "Cannot be told apart",
        "The 95% interval of the difference of the two contributions contains 0: with other seeds their order might "
        "be the other way round.",
    ),
    "loo": Term(
        "Leave-one-out",
        "How much nearer, in FID points, the complete workflow is than the same without only this component.",
    ),
    "single": Term(
        "Alone",
        "How much nearer, in FID points, this component brings the images when it is the only one present.",
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
    "mmd": Term(
        "MMD",
        "A kernel distance with a Gaussian kernel on the direction of the features, as CMMD has it; unbiased, so it "
        "may be slightly negative.",
    ),
    "fid_infinity": Term(
        "FID∞",
        "FID extrapolated to infinitely many generated images, which takes away its bias for few images.",
    ),
    "interaction": Term(
        "Interaction",
        "What two components do together beyond what they do apart (Shapley interaction index). Positive: they need "
        "each other. Negative: each can stand in for the other.",
    ),
    "control": Term(
        "Control",
        "Unrelated images of the same kind. A component that moves the images towards them as much as towards the "
        "reference makes them look like such images at large, not like this reference.",
    ),
    "contrast": Term(
        "Contrast",
        "How much more a component moves the images towards the reference than towards the control images: what is "
        "special to this reference. It is unbiased for any numbers of images, and counts what the images are like on "
        "average, not how much they vary.",
    ),
    "content": Term(
        "Content",
        "What the network's last layer sees: mostly what is shown. FID is made of it.",
    ),
    "style": Term(
        "Style",
        "How a network's channels fire, wherever in the image they do: texture, line and colour rather than what is "
        "shown.",
    ),
    "coalition": Term("Combination", "A set of components that is present while the others are absent (a coalition)."),
    "absent": Term("When absent", "What the workflow becomes when the component is taken away."),
    "locked": Term("Locked", "Always present, in every combination, so that its own contribution was not measured."),
    "reference": Term("Reference", "The rights holder's images that the workflow's images are compared with."),
    "clip": Term(
        "Clip",
        "A video that one seed gave. Its frames resemble each other, so chance is measured between clips, and KID "
        "compares frames of different clips only. Evenly spaced frames of each clip are measured.",
    ),
    "seed": Term(
        "Seed offset",
        "A number that is added to the workflow's own seed. Every combination uses the same ones, so that chance is "
        "the same for all of them.",
    ),
    "nearest": Term(
        "Nearest",
        "Of all reference images the one whose features are most like those of the generated image. The number is the "
        "distance of the features: 0 means the same; smaller is nearer.",
    ),
    "best": Term("Best pair", "Of this combination's images the one that comes nearest to a reference image."),
    "median": Term("Median pair", "The image in the middle when they are sorted by how near they come: a typical one."),
    "random": Term(
        "Random pair", "One of the other images, drawn with a fixed seed, so that nobody can draw until it pleases."
    ),
    "difference": Term(
        "Pixel difference",
        "Where an image differs from that of the complete workflow at the same seed. Black: not at all; white: by half "
        "of the range or more.",
    ),
    "outlines": Term("Outlines", "The edges in an image: its drawing and texture without its colours."),
    "colours": Term("Colours", "The main colours, dark to light; each is as wide as it is frequent."),
    "close_up": Term(
        "Close-up", "The middle of the image in full size: brushwork, line and grain, which thumbnails lose."
    ),
    "planted": Term(
        "Planted games",
        "Workflows put together from models of which it is known which ones carry an artist's works, so that a verdict "
        "on them is known to be right or wrong.",
    ),
    "simple": Term(
        "Simple measures",
        "Up to eight images, each compared pixel by pixel with the reference image whose features are nearest, on "
        "average. They see a copied picture and its colours, but hardly a style.",
    ),
    "histogram": Term("Same colours", "The part of the colours that two pictures have in common, wherever they are."),
    "dhash": Term(
        "Coarse shapes",
        "Of 64 places the part in which both pictures grow lighter or both grow darker (dHash). About 50%: nothing to "
        "do with each other.",
    ),
    "ssim": Term(
        "Structure",
        "Structural similarity (SSIM) of light and dark, place by place. 1: the same picture; about 0: nothing to do "
        "with each other.",
    ),
    "rgb_ssim": Term("Structure in colour", "The same of red, green and blue each (RGB-SSIM), and their mean."),
    "twice": Term(
        "Same pixels when run twice",
        "The complete workflow is run twice before anything else. If its pixels differ, a part of every difference is "
        "chance.",
    ),
    "sample": Term(
        "A sample of the combinations",
        "With many components not every combination is run. Which ones are is drawn by a fixed rule, and contributions "
        "are estimated from those.",
    ),
    "group": Term(
        "Group",
        "Components that join and leave together. A group's contribution is the sum of its members' (Owen value).",
    ),
    "canary": Term(
        "Run again at the end",
        "Some combinations are run once again after all others. The same pixels show that nothing of one combination "
        "stayed behind and reached another.",
    ),
    "sha256": Term("SHA-256", "A fingerprint of a file or an image: it changes if a single bit does."),
    "autov2": Term("AutoV2", "The first ten digits of a model file's SHA-256, by which model sites list it."),
}


def terms_for(distance: DistanceName) -> dict[str, Term]:
    """The terms, with the distance in use named where values are in its units."""
    info = DISTANCES[distance]
    if distance == "fid":
        return TERMS
    return {
        key: item
        if key in ("fid", "kid", "kid_shapley", "mmd", "fid_infinity")
        else Term(
            item.name.replace("FID", info.label),
            item.meaning.replace("FID points", info.unit).replace("FID", info.label),
        )
        for key, item in TERMS.items()
    }
