"""Published work: the sources of the recipes, and systems on the fault-filtered split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["ON_FAULT_FILTERED", "SOURCES", "SYSTEM_SOURCES", "Source"]


@dataclass(frozen=True)
class Source:
    """Where recipes or figures come from.

    Parameters
    ----------
    title : str
        The name that a reader looks for.
    about : str
        One sentence about the authors.
    link : str
        Its address, or "" if we know none.
    """

    title: str
    about: str
    link: str = ""


SOURCES: Mapping[str, Source] = {
    "baseline": Source(
        "Our baselines", "Models of this package, with nothing pretrained unless the recipe says so."
    ),
    "malvezzi": Source(
        "Malvezzi",
        "Beatrice Malvezzi's project in the statistical learning course of the University of Milan-Bicocca; "
        "known from a forum article about it.",
        "https://www.zingnex.cn/en/forum/thread/cnn-gtzan",
    ),
    "zhang": Source(
        "Zhang",
        "Zichong Zhang, Nanjing University of Posts and Telecommunications: “Music Genre Classification "
        "Based on Deep Learning”, 3 June 2025.",
    ),
    "feature-cnn": Source(
        "Feature report",
        "“Music Genre Classification via CNNs using the GTZAN dataset”: a report without named authors on "
        "Kaggle's table of hand-crafted features.",
    ),
    "uncu": Source(
        "Uncu",
        "Emir Uncu, Middle East Technical University: “A Survey On Audio Signal Classification Using "
        "Transfer Learning: CNN and VGGish implementation on the GTZAN Dataset”.",
        "https://github.com/emiiruncu10/CENG562",
    ),
    "arrigo": Source(
        "Arrigo",
        "Matteo Arrigo, Politecnico di Milano: “Using CNN Networks for Music Genre Classification”, "
        "23 June 2025.",
    ),
    "systems": Source(
        "Published systems",
        "Systems by other teams with a figure on the test part of the fault-filtered split of Kereliuk, "
        "Sturm and Larsen; most were first trained on much more music than GTZAN.",
        "https://doi.org/10.1109/TMM.2015.2478068",
    ),
}
"""By the first part of a recipe's name; ``systems`` are `ON_FAULT_FILTERED`."""

SYSTEM_SOURCES: Mapping[str, str] = {
    "EVAR table": "https://github.com/nttcslab/eval-audio-repr",
    "sklearn-audio-transfer-learning": "https://github.com/jordipons/sklearn-audio-transfer-learning",
    "ISMIR 2021 tutorial": "https://github.com/music-classification/tutorial",
}
"""Addresses of the tables that `ON_FAULT_FILTERED` names."""

ON_FAULT_FILTERED: Sequence[tuple[str, float, str]] = (
    ("M2D-AS", 0.876, "EVAR table"),
    ("MuQ", 0.856, "MuQ's table"),
    ("MusicFM", 0.838, "MuQ's table"),
    ("SampleCNN, multi-level features", 0.821, "Lee and Nam 2017"),
    ("Jukebox", 0.797, "JukeMIR"),
    ("PANNs CNN14, frozen", 0.787, "EVAR table"),
    ("VGGish, frozen", 0.7758, "sklearn-audio-transfer-learning"),
    ("musicnn", 0.7724, "sklearn-audio-transfer-learning"),
    ("OpenL3", 0.7465, "sklearn-audio-transfer-learning"),
    ("CLMR", 0.686, "MARBLE's table"),
    ("CNN from scratch", 0.541, "ISMIR 2021 tutorial"),
    ("MFCC and SVM", 0.534, "sklearn-audio-transfer-learning"),
)
"""Accuracies published on the fault-filtered test part: system, accuracy, source. All but the last two
were trained on other data first."""
