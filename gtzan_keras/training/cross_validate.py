"""Cross-validation of models on hand-crafted features, by fold, row and track."""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.audio.features import FEATURE_COLUMNS, MFCC_COLUMNS, correlation_filter
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.parallel import in_parallel
from gtzan_keras.tracks.catalogue import describe, facts, genre_names, track_of_row
from gtzan_keras.tracks.near_duplicates import with_near_duplicates
from gtzan_keras.tracks.splits import Split, check_left_out, stratified, warn_of_unseen_genres
from gtzan_keras.tracks.splits import folds as track_folds
from gtzan_keras.training.evaluate import (
    answers,
    confusion_matrix,
    interval_scores,
    macro_scores,
    track_groups,
    unit_matrices,
)
from gtzan_keras.training.settings import TrainingSettings

if TYPE_CHECKING:
    from gtzan_keras.store.base import Store

__all__ = ["INPUTS", "CrossValidation", "cross_validate", "random_segments", "row_folds", "tracks_of"]

logger = logging.getLogger(__name__)

INPUTS: Mapping[str, tuple[tuple[str, ...], float | None]] = {
    "all": (FEATURE_COLUMNS, None),
    "mfcc": (MFCC_COLUMNS, None),
    "filtered": (FEATURE_COLUMNS, 0.8),
}
"""Columns by name, and the threshold of the correlation filter applied to them."""

REPORT_SETTINGS = TrainingSettings(learning_rate=1e-3, schedule="step", keep_best=False)
"""How the feature report trains: Adam, the rate halved every ten epochs, no early stopping."""


@dataclass(frozen=True)
class CrossValidation:
    """Predictions of the models of all folds for the rows they were not trained on.

    Scores are by track, from the mean probabilities of its rows.

    Parameters
    ----------
    genres : list of str
        Class order.
    folds : pd.DataFrame [shape=(folds, 5)]
        ``fold`` (name), ``leaky``, ``train`` and ``test`` (number of rows), ``inputs`` (number of features
        after the filter).
    rows : pd.DataFrame [shape=(test rows, 5 + genres)]
        ``fold`` (number, from 0), ``filename``, ``track_id``, ``genre``, ``predicted``, then one column
        of probabilities per genre.
    missing : tuple of str
        Tracks of the folds that are missing from the table.
    """

    genres: list[str]
    folds: pd.DataFrame
    rows: pd.DataFrame
    missing: tuple[str, ...] = ()

    @property
    def leaky(self) -> bool:
        """Whether a recording may be in training and test of one fold."""
        return bool(self.folds["leaky"].any())

    @cached_property
    def tracks(self) -> pd.DataFrame:
        """As `rows`, with one row per fold and track and the mean of its rows' probabilities."""
        groups = self.rows.groupby(["fold", "track_id"], as_index=False)
        table = groups.agg({"genre": "first", **dict.fromkeys(self.genres, "mean")})
        likeliest = table[self.genres].to_numpy().argmax(axis=1)
        table.insert(3, "predicted", np.array(self.genres)[likeliest])
        return table

    def scores(self) -> pd.DataFrame:
        """Return accuracy and macro precision, recall and F1 of each fold.

        Returns
        -------
        pd.DataFrame [shape=(folds, 6)]
            ``fold`` (name), ``leaky``, ``accuracy``, ``macro_precision``, ``macro_recall``, ``macro_f1``.
        """
        numbers, codes = self.tracks["fold"].to_numpy(), answers(self.tracks, self.genres)
        matrices = unit_matrices(numbers, *codes, len(self.genres), len(self.folds))
        return self.folds[["fold", "leaky"]].assign(**macro_scores(matrices))

    def summary(self) -> pd.DataFrame:
        """Return mean and standard deviation (of the sample, n - 1) of `scores` over the folds.

        Returns
        -------
        pd.DataFrame [shape=(4, 2)]
            Indexed by score; columns ``mean`` and ``std`` (NaN for a single fold).
        """
        return self.scores().drop(columns=["fold", "leaky"]).agg(["mean", "std"]).T

    def confusion_matrix(self) -> npt.NDArray[np.int64]:
        """Return the sum of the folds' confusion matrices (true, predicted)."""
        return confusion_matrix(self.tracks, self.genres)

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return scores over the tracks of all folds together, with 95 % bootstrap intervals.

        Whole tracks are resampled: not their segments, and not one track's predictions in several folds.
        See `gtzan_keras.training.evaluate.interval_scores`.
        """
        codes, groups = answers(self.tracks, self.genres), track_groups(self.tracks)
        return interval_scores(*codes, len(self.genres), groups)


def cross_validate(
    build: Callable[..., Any],
    table: pd.DataFrame,
    folds: Sequence[Split],
    settings: TrainingSettings = REPORT_SETTINGS,
    *,
    columns: Sequence[str] | None = None,
    threshold: float | None = None,
    exclude_genres: Iterable[str] = (),
    spectrograms: Store | None = None,
) -> CrossValidation:
    """Train a new model on each fold's training rows and score it on the fold's test rows.

    Filter and scaler are fitted on the fold's training rows alone. By default, Keras models are trained as
    in the feature report: Adam, categorical cross-entropy, the rate halved every ten epochs, no early
    stopping. A fold's validation part is not used. The folds are trained one after the other, or as
    ``joblib.parallel_config`` says; see `gtzan_keras.parallel.on_cluster`.

    Parameters
    ----------
    build : callable
        Makes an unfitted scikit-learn classifier with its own scaler (`classical`), or an
        uncompiled `keras.Model`, whose input is standardised here. Called without arguments, or with the
        number of features if it requires an argument.
    table : pd.DataFrame
        From `load_feature_table` or `feature_table`: one row per track or segment.
    folds : sequence of Split
        Splits of tracks, from `gtzan_keras.tracks.splits`: `folds`, or a list with one split such as
        ``[fault_filtered(...)]``. From `row_folds` for a deliberate leak.
    settings : TrainingSettings
        How Keras models are trained; all epochs are run. "auto" computes in float32 here, where models are
        small. The seed is also set as every ``random_state`` of a scikit-learn model. `augmentation` is
        refused.
    columns : sequence of str, optional
        Features to use; all 57 by default.
    threshold : float, optional
        Correlation above which the later of two features is dropped (0.8 in the report); by default none
        is dropped.
    exclude_genres : iterable of str
        Genres to leave out, as Zhang does.
    spectrograms : Store, optional
        Gives a model with two inputs, ``features`` and ``spectrogram`` (`two_branch`), the spectrogram of
        each row's track; rows without one are left out.

    Returns
    -------
    CrossValidation

    Raises
    ------
    GtzanKerasError
        A fold leaks and is not marked leaky; a fold has no rows in training or test; a column is
        missing or holds NaN; a genre to exclude is missing, or fewer than two remain; the model does
        not fit the number of features and genres; or a setting does not apply here.

    References
    ----------
    "Music Genre Classification via CNNs using the GTZAN dataset" (feature 1-D CNN report). Zhang, "Music
    Genre Classification Based on Deep Learning", 2025 (genres left out).

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.tracks import splits
    >>> from gtzan_keras.training.classical import classical
    >>> from gtzan_keras.training.cross_validate import cross_validate, tracks_of
    >>> names = [f"{genre}.0000{n}.wav" for genre in ("jazz", "rock") for n in range(4)]
    >>> table = pd.DataFrame({"filename": names, "tempo": [60.0, 61, 62, 63, 120, 121, 122, 123]})
    >>> table["label"] = table["filename"].str[:4]
    >>> folds = splits.folds(tracks_of(table), k=2)
    >>> result = cross_validate(lambda: classical("knn", n_neighbors=1), table, folds, columns=["tempo"])
    >>> result.scores()["accuracy"].tolist(), result.confusion_matrix().tolist()
    ([1.0, 1.0], [[4, 0], [0, 4]])
    """
    from tqdm import tqdm

    names = list(FEATURE_COLUMNS if columns is None else columns)
    _check_table(table, names)
    if not folds:
        raise GtzanKerasError("folds is empty; expected at least one Split")
    if settings.augmentation is not None:
        raise GtzanKerasError("augmentation: expected None; features of a table cannot be augmented")
    table = table.assign(track_id=_track_ids(table)).reset_index(drop=True)
    known = {*table["track_id"], *table["filename"]}
    missing = sorted({key for fold in folds for ids in fold.parts().values() for key in ids} - known)
    if missing:
        some = ", ".join(missing[:3])
        logger.warning("%d tracks of the folds are missing from the table, e.g. %s", len(missing), some)
    tracks = tracks_of(table)
    excluded = set(exclude_genres)
    check_left_out("the table", excluded, table["label"])
    table = table[~table["label"].isin(excluded)]
    if spectrograms is not None:
        if len(set(spectrograms.track_id)) < len(spectrograms):
            raise GtzanKerasError(f"{spectrograms.path}: has several spectrograms per track; expected one")
        table = table[table["track_id"].isin(spectrograms.track_id)]
    table = table.reset_index(drop=True)
    genres = genre_names(table["label"])
    labels = table["label"].map({genre: number for number, genre in enumerate(genres)}).to_numpy()

    tasks = []
    for fold in folds:  # all of them are checked before the first is trained
        fold.check(tracks)
        warn_of_unseen_genres(fold, tracks)
        tasks.append((_rows(table, fold, "train"), _rows(table, fold, "test")))

    trainer = _Trainer(build, table[["track_id", *names]], labels, genres, threshold, settings, spectrograms)
    results = in_parallel(trainer, tasks, [fold.name for fold in folds], own_process=True)
    done = zip(folds, tasks, tqdm(results, "folds", len(tasks), unit="fold", disable=None), strict=True)
    facts, predictions = [], []
    for number, (fold, (train, test), (predicted, probabilities, count)) in enumerate(done):
        rows = table.loc[test, ["filename", "track_id", "label"]].rename(columns={"label": "genre"})
        rows.insert(0, "fold", number)
        rows["predicted"] = np.array(genres)[predicted]
        predictions.append(rows.join(pd.DataFrame(probabilities, index=rows.index, columns=genres)))
        facts.append([fold.name, fold.leaky, len(train), len(test), count])
    return CrossValidation(
        genres,
        pd.DataFrame(facts, columns=["fold", "leaky", "train", "test", "inputs"]),
        pd.concat(predictions, ignore_index=True),
        tuple(missing),
    )


@dataclass(frozen=True, eq=False)
class _Trainer:
    """What all folds share; called with the rows of one fold, possibly in another process."""

    build: Callable[..., Any]
    table: pd.DataFrame
    labels: np.ndarray
    genres: Sequence[str]
    threshold: float | None
    settings: TrainingSettings
    spectrograms: Store | None

    def __call__(self, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Train on rows; return classes and probabilities of others, and the number of features kept."""
        from sklearn.base import BaseEstimator
        from sklearn.preprocessing import StandardScaler

        features, build = self.table.drop(columns="track_id").astype(float), self.build
        if self.threshold is not None:
            features = features[correlation_filter(features.loc[train], self.threshold)[0]]
        parameters = inspect.signature(build).parameters.values()
        if any(p.default is p.empty and p.kind <= p.POSITIONAL_OR_KEYWORD for p in parameters):
            build = partial(build, features.shape[1])
        model = build()
        if isinstance(model, BaseEstimator):
            random_states = [key for key in model.get_params() if key.endswith("random_state")]
            model.set_params(**dict.fromkeys(random_states, self.settings.seed))
            model.fit(features.loc[train], self.labels[train])
            probabilities = _probabilities(model, features.loc[test], len(self.genres))
            return model.predict(features.loc[test]), probabilities, features.shape[1]
        import keras

        keras.utils.set_random_seed(self.settings.seed)
        scaled = StandardScaler().fit(features.loc[train]).transform(features).astype("float32")
        inputs = {"features": scaled}
        if self.spectrograms is not None:
            rows = pd.Index(self.spectrograms.track_id).get_indexer(pd.Index(self.table["track_id"]))
            inputs["spectrogram"] = self.spectrograms.read(rows) / np.float32(255)
        # built again, so that its weights follow the seed
        probabilities = self._of_network(build(), inputs, train, test)
        return probabilities.argmax(axis=1), probabilities, features.shape[1]

    def _of_network(
        self, model: Any, inputs: Mapping[str, np.ndarray], train: np.ndarray, test: np.ndarray
    ) -> np.ndarray:
        """Train a network, or a copy in the settings' precision; return its probabilities (row, class)."""
        import keras

        from gtzan_keras.models.device import freed_memory_kept
        from gtzan_keras.models.layers import clone
        from gtzan_keras.store.batches import untuned
        from gtzan_keras.training.fit import callbacks_for, class_weights_of, make_state, optimizer_for
        from gtzan_keras.training.precision import dtypes_in, policy_of

        labels, genres, settings = self.labels, self.genres, self.settings
        by_name = len(model.inputs) > 1
        expected = {tensor.name if by_name else "features": tensor.shape[1:] for tensor in model.inputs}
        given = {name: values.shape[1:] for name, values in inputs.items()}
        if expected != given or model.output_shape[-1] != len(genres):
            raise GtzanKerasError(
                f"model {model.name!r} maps {expected} to {model.output_shape[-1]} classes, but there are "
                f"{given} and {len(genres)} genres; build it as lambda features: feature_cnn((features,), "
                f"{len(genres)})"
            )
        policy = "mixed_bfloat16" if settings.precision == "bfloat16" else "float32"
        if policy_of(model) != policy:
            model = clone(model, dtypes_in(model, policy))
            keras.utils.set_random_seed(settings.seed)

        def rows(chosen: np.ndarray) -> Any:
            return {name: v[chosen] for name, v in inputs.items()} if by_name else inputs["features"][chosen]

        def batches() -> Iterator[tuple[Any, np.ndarray]]:
            # Given arrays after `set_random_seed`, TensorFlow's `fit` repeats one order in all epochs.
            random, one_hot = np.random.default_rng(settings.seed), np.eye(len(genres), dtype="float32")
            while True:
                order = random.permutation(train)
                for first in range(0, len(order), settings.batch_size):
                    chosen = order[first : first + settings.batch_size]
                    yield rows(chosen), one_hot[labels[chosen]]

        steps = -(-len(train) // settings.batch_size)
        optimizer = optimizer_for(settings, steps)
        # XLA compiles longer than such a small network trains, and every fold would trace `Model.predict`.
        model.compile(optimizer, "categorical_crossentropy", jit_compile=False)
        make_state(model)
        with freed_memory_kept():
            model.fit(
                untuned(batches, next(batches())) if keras.backend.backend() == "tensorflow" else batches(),
                epochs=settings.epochs,
                steps_per_epoch=steps,
                shuffle=False,
                class_weight=class_weights_of(labels[train]) if settings.class_weights else None,
                callbacks=callbacks_for(settings, optimizer, has_validation=False),
                verbose=0,
            )
        size = settings.batch_size
        some = [test[start : start + size] for start in range(0, len(test), size)]
        return np.concatenate([keras.ops.convert_to_numpy(model(rows(one), training=False)) for one in some])


def tracks_of(table: pd.DataFrame, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the tracks of a table of features, as `gtzan_keras.tracks.splits` needs them.

    Tracks with exactly the same features are counted as copies, which splits keep together.

    Parameters
    ----------
    table : pd.DataFrame
        With ``filename`` and ``label``; segments (``blues.00000.3.wav``) are counted as their track.
    known : pd.DataFrame, optional
        The tracks that the table was made from, by `gtzan_keras.load_tracks`: a table alone does not say
        what a ``tracks.csv`` says of artists and copies. GTZAN's facts by default.

    Returns
    -------
    pd.DataFrame [shape=(tracks, 8)]
        As from `gtzan_keras.load_tracks`; without `known`, without paths.

    Raises
    ------
    GtzanKerasError
        A track of the table is not in `known`.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.training.cross_validate import tracks_of
    >>> table = pd.DataFrame({"filename": ["pop.00000.0.wav", "pop.00000.1.wav"], "label": ["pop", "pop"]})
    >>> tracks_of(table)[["track_id", "fault_filtered"]].values.tolist()
    [['pop.00000', 'test']]
    """
    ids = _track_ids(table)
    if known is None:
        tracks = describe(dict(zip(ids, table["label"], strict=True)))
    elif absent := sorted({*ids} - {*known["track_id"]}):
        raise GtzanKerasError(
            f"{len(absent)} track(s) of the table are not among the known ones, such as {absent[0]}; load "
            "the tracks from the folder that the table was made from"
        )
    else:
        tracks = known[known["track_id"].isin(ids)].reset_index(drop=True)
    if not {*FEATURE_COLUMNS} <= {*table.columns}:
        return tracks
    rows = pd.util.hash_pandas_object(table[[*FEATURE_COLUMNS]], index=False)
    contents = rows.groupby(list(ids), sort=False).agg(tuple)
    pairs = [(same[0], copy) for same in contents.groupby(contents).groups.values() for copy in same[1:]]
    return with_near_duplicates(tracks, pd.DataFrame(pairs, columns=["first", "second"]))


def warn_of_unknown_tracks(path: Path, table: pd.DataFrame, remedy: str) -> None:
    """Log that a table of an own collection says nothing of artists and copies."""
    if not set(_track_ids(table)).issubset(facts().index):
        logger.warning(
            "%s: a table does not say whose the tracks are, and which are copies; %s", path, remedy
        )


def row_folds(table: pd.DataFrame, k: int = 5, seed: int = 0) -> list[Split]:
    """Make LEAKY folds of random rows: segments of one track are in training and test.

    Only to show what such a split does to a figure, or to reproduce one that was made with it. Every
    fold is marked leaky, and its parts hold file names instead of track ids.

    Parameters
    ----------
    table : pd.DataFrame
        With ``filename`` and ``label``, one row per segment.
    k : int >= 2
        Number of folds; each has the same share of every genre.
    seed : int
        Seed of the folds.

    Returns
    -------
    list of Split [length k]

    See Also
    --------
    gtzan_keras.tracks.splits.folds : folds of tracks, which do not leak.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.training.cross_validate import row_folds
    >>> names = [f"pop.00000.{segment}.wav" for segment in range(4)]
    >>> fold = row_folds(pd.DataFrame({"filename": names, "label": "pop"}), k=2)[0]
    >>> fold.name, fold.leaky, len(fold.test)
    ('random rows (leaky) fold 1 of 2', True, 2)
    """
    rows = pd.DataFrame({"track_id": table["filename"], "genre": table["label"], "duplicates": ""})
    return [
        dataclasses.replace(fold, name=fold.name.replace("stratified", "random rows (leaky)", 1), leaky=True)
        for fold in track_folds(rows, k, seed=seed)
    ]


def random_segments(
    store: Store,
    shares: tuple[float, float, float],
    seed: int = 0,
    count: int | None = None,
    without: Iterable[str] = (),
) -> Split:
    """Make a LEAKY split of random segments of a store: those of one track are in all parts.

    Only to reproduce a figure that was made with such a split. Parts hold ids of samples,
    ``"blues.00000#3"``.

    Parameters
    ----------
    store : Store
        With segments.
    shares : (float, float, float)
        Shares of training, validation and test.
    seed : int
        Seed of the split.
    count : int, optional
        Number of segments, drawn at random; by default all.
    without : iterable of str
        Genres to leave out.

    Returns
    -------
    Split
        Marked leaky.

    See Also
    --------
    row_folds : the same for a table of features.

    Examples
    --------
    >>> import numpy as np, tempfile, os
    >>> from gtzan_keras import SpectrogramSpec, SpectrogramStore
    >>> from gtzan_keras.training.cross_validate import random_segments
    >>> spec = SpectrogramSpec(name="tiny", n_mels=8, height=8, width=8,
    ...                        segment_seconds=1, segment_hop_seconds=1)
    >>> path = os.path.join(tempfile.mkdtemp(), "tiny.h5")
    >>> ids = ["pop.00000"] * 5 + ["rock.00000"] * 5
    >>> store = SpectrogramStore.from_arrays(path, np.zeros((10, 8, 8), "uint8"), ids, spec)
    >>> split = random_segments(store, (0.6, 0.0, 0.4))
    >>> split.leaky, len(split.train), split.test[0].split("#")[0]
    (True, 6, 'pop.00000')
    """
    rows = pd.DataFrame({"track_id": store.sample_id, "genre": store.genre, "duplicates": ""})
    rows = rows[~rows["genre"].isin(set(without))].reset_index(drop=True)
    if count is not None and count < len(rows):
        rows = rows.iloc[np.sort(np.random.default_rng(seed).permutation(len(rows))[:count])]
    split = stratified(rows, shares, seed)
    return dataclasses.replace(split, name=f"random segments (leaky) {split.name}", leaky=True)


def _track_ids(table: pd.DataFrame) -> list[str]:
    """Return the track id of each row."""
    return [track_of_row(*row) for row in zip(table["filename"], table["label"], strict=True)]


def _check_table(table: pd.DataFrame, columns: Sequence[str]) -> None:
    absent = [column for column in ("filename", "label", *columns) if column not in table]
    if absent or not columns:
        raise GtzanKerasError(
            f"columns={list(columns)}: expected names of columns of the table of features, which has no "
            f"{', '.join(absent) or 'other'}; read it with load_feature_table() or feature_table()"
        )
    numbers = table[list(columns)].apply(pd.to_numeric, errors="coerce")
    if bad := numbers.columns[~np.isfinite(numbers).all()].tolist():
        raise GtzanKerasError(f"column(s) {', '.join(bad)}: expected finite numbers only")


def _rows(table: pd.DataFrame, fold: Split, part: str) -> np.ndarray:
    """Return the positions of a part's rows. Only leaky folds may name rows: checks see only tracks."""
    keys = fold.parts()[part]
    chosen = table["track_id"].isin(keys)
    if fold.leaky:
        chosen |= table["filename"].isin(keys)
    if not chosen.any():
        raise GtzanKerasError(
            f"split {fold.name!r}: the table has no row of its {part} part; make the split from "
            "tracks_of(table)"
        )
    return np.flatnonzero(chosen)


def _probabilities(model: Any, features: pd.DataFrame, num_classes: int) -> np.ndarray:
    """Return probabilities (row, class): the softmax of decision values if a model has none of its own."""
    from scipy.special import softmax

    if hasattr(model, "predict_proba"):
        known = model.predict_proba(features)
    else:
        values = model.decision_function(features)
        known = softmax(values if values.ndim == 2 else np.stack([-values, values], axis=1) / 2, axis=1)
    probabilities = np.zeros((len(features), num_classes))
    probabilities[:, model.classes_] = known
    return probabilities
