"""Cross-validation over folds of tracks, for Keras and scikit-learn models alike."""

import dataclasses
import itertools

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import StandardScaler

from gtzan_keras.audio.features import FEATURE_COLUMNS
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.dense_network import dense
from gtzan_keras.models.two_branch_network import two_branch
from gtzan_keras.store.augmentation import STRONG_AUGMENTATION
from gtzan_keras.tracks import splits
from gtzan_keras.tracks.catalogue import describe
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training.classical import classical
from gtzan_keras.training.cross_validate import cross_validate, row_folds, tracks_of
from gtzan_keras.training.settings import TrainingSettings

pytestmark = pytest.mark.usefixtures("eagerly")

COLUMNS = ("tempo", "rms_mean", "mfcc1_mean", "mfcc2_mean")
GENRES = ["blues", "metal", "pop"]


def make_table(genres, per_genre, segments=0):
    """GTZAN's names with made-up features: a track's own place near its genre's, and noise a segment."""
    rng = np.random.default_rng(0)
    rows = []
    for number, genre in enumerate(genres):
        for track in range(per_genre):
            place = rng.normal(0.8 * number, 1, len(COLUMNS))
            for segment in range(max(segments, 1)):
                middle = f".{segment}" if segments else ""
                noise = rng.normal(0, 0.1, len(COLUMNS)) if segments else 0
                rows.append([f"{genre}.{track:05}{middle}.wav", *(place + noise), genre])
    return pd.DataFrame(rows, columns=["filename", *COLUMNS, "label"])


@pytest.fixture(scope="module")
def table():
    return make_table(GENRES, 30)


@pytest.fixture(scope="module")
def segments():
    return make_table(GENRES, 12, segments=5)


@pytest.fixture(scope="module")
def folds(table):
    return splits.folds(tracks_of(table), k=3)


def positions(table, folds):
    """The same folds as scikit-learn wants them."""
    ids = table["filename"].str[:-4]
    return [tuple(np.flatnonzero(ids.isin(part)) for part in (fold.train, fold.test)) for fold in folds]


def small_network(features):
    return dense((features,), len(GENRES), units=(8,), dropout=0.2)


def validate(build, table, folds, **arguments):
    names = {field.name for field in dataclasses.fields(TrainingSettings)}
    values = {name: arguments.pop(name) for name in names & arguments.keys()}
    settings = TrainingSettings(**{"epochs": 2, "learning_rate": 1e-3, "schedule": "step", **values})
    return cross_validate(build, table, folds, settings, **{"columns": COLUMNS, **arguments})


def test_matrix_and_scores_are_those_of_scikit_learns_cross_val_predict(table, folds):
    result = validate(lambda: classical("logistic_regression"), table, folds)
    places = positions(table, folds)
    truth = table["label"].to_numpy()
    model = classical("logistic_regression")
    predicted = cross_val_predict(model, table[[*COLUMNS]], truth, cv=places)
    matrix = confusion_matrix(truth, predicted, labels=GENRES)
    np.testing.assert_array_equal(result.confusion_matrix(), matrix)
    expected = []
    for _, test in places:
        macro = precision_recall_fscore_support(truth[test], predicted[test], average="macro")[:3]
        expected.append([accuracy_score(truth[test], predicted[test]), *macro])
    scores = result.scores()
    assert scores["fold"].tolist() == [fold.name for fold in folds]
    np.testing.assert_allclose(scores.drop(columns=["fold", "leaky"]), expected)
    np.testing.assert_allclose(result.summary()["mean"], np.mean(expected, axis=0))
    np.testing.assert_allclose(result.summary()["std"], np.std(expected, axis=0, ddof=1))


def test_the_scaler_sees_training_rows_only(table, folds, monkeypatch):
    seen = []
    original = StandardScaler.fit

    def spy(self, features, *arguments, **keywords):
        seen.append(np.asarray(features))
        return original(self, features, *arguments, **keywords)

    monkeypatch.setattr(StandardScaler, "fit", spy)
    validate(lambda: classical("knn"), table, folds)
    assert len(seen) == len(folds)
    for features, (train, _) in zip(seen, positions(table, folds), strict=True):
        np.testing.assert_array_equal(features, table[[*COLUMNS]].to_numpy()[train])


def test_the_filter_sees_training_rows_only(table, folds):
    train = table["filename"].str[:-4].isin(folds[0].train)
    # In fold 0's training rows the second feature repeats the first; its test rows break the tie.
    copied = table.assign(rms_mean=np.where(train, table["tempo"], 50 * table["mfcc1_mean"]))
    for numbers in (copied, copied.astype({"mfcc1_mean": str})):
        result = validate(lambda: classical("knn"), numbers, folds[:1], threshold=0.9)
        assert result.folds["inputs"].tolist() == [3]


@pytest.fixture
def fitted(monkeypatch):
    """Every Keras model that would be fitted, with two epochs' inputs and targets, and the options."""
    seen = []

    def spy(self, batches, **options):
        epochs, batches = [], iter(batches)
        for _ in range(2):
            inputs, targets = zip(*itertools.islice(batches, options["steps_per_epoch"]), strict=True)
            joined = keras.tree.map_structure(lambda *parts: np.concatenate(parts), *inputs)
            epochs.append((joined, np.concatenate(targets)))
        seen.append((self, epochs, options))

    monkeypatch.setattr(keras.Model, "fit", spy)
    return seen


def test_a_keras_model_is_trained_on_standardised_training_rows(table, folds, fitted):
    validate(small_network, table, folds[:1])
    (_, epochs, _), train = fitted[0], positions(table, folds)[0][0]
    rows = table[[*COLUMNS]].to_numpy()[train]
    expected = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    orders = [cdist(inputs, expected).argmin(axis=1) for inputs, _ in epochs]
    for order, (inputs, targets) in zip(orders, epochs, strict=True):
        assert sorted(order) == list(range(len(train)))
        np.testing.assert_allclose(inputs, expected[order], atol=1e-5)
        genres = [GENRES[column] for column in targets.argmax(axis=1)]
        assert genres == table["label"].iloc[train[order]].tolist()
    assert not np.array_equal(*orders)  # a new order each epoch


def test_by_default_a_keras_model_is_trained_as_in_the_report(table, folds, fitted):
    cross_validate(small_network, table, folds[:1], columns=COLUMNS)
    model, _, options = fitted[0]
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert options["epochs"] == 50
    for epoch in (9, 10, 50):
        model.optimizer.iterations.assign(epoch * options["steps_per_epoch"])
        assert float(model.optimizer.learning_rate) == pytest.approx(1e-3 / 2 ** (epoch // 10))


def test_a_keras_model_is_trained_in_float32_whatever_it_was_built_in(table, folds):
    keras.config.set_dtype_policy("mixed_bfloat16")  # until the end of the test: see conftest.py
    built = validate(small_network, table, folds[:1])
    assert (built.rows[GENRES].to_numpy(np.float32).view(np.uint32) & 0xFFFF).any()  # not bfloat16's digits
    keras.config.set_dtype_policy("float32")
    plain = validate(small_network, table, folds[:1])
    np.testing.assert_allclose(built.rows[GENRES], plain.rows[GENRES], atol=0.02)


@pytest.fixture(scope="module")
def noise(separable):
    """Features that say nothing, of the tracks of a store whose spectrograms tell all."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"filename": [f"{track}.wav" for track in separable.track_id]})
    numbers = pd.DataFrame(rng.normal(size=(len(table), len(COLUMNS))), columns=[*COLUMNS])
    return table.join(numbers).assign(label=separable.genre).sample(frac=1, random_state=0)


def two(features):
    return two_branch((features,), (8, 12, 1), 3, spectrogram_filters=(8,), dense_units=(16,), dropout=0.0)


def test_a_model_with_two_branches_sees_the_spectrogram_of_each_rows_track(noise, separable, fitted):
    folds = splits.folds(tracks_of(noise), k=3)
    validate(two, noise, folds[:1], spectrograms=separable)
    ((_, ((inputs, targets), _), _),) = fitted
    train = noise[noise["filename"].str[:-4].isin(folds[0].train)]
    numbers = StandardScaler().fit_transform(train[[*COLUMNS]])
    order = cdist(inputs["features"], numbers).argmin(axis=1)
    tracks = train["filename"].str[:-4].iloc[order].tolist()
    expected = np.concatenate([separable.read(separable.rows([track])) for track in tracks]) / 255
    np.testing.assert_allclose(inputs["spectrogram"], expected, atol=1e-6)
    genres = [separable.genres[code] for code in targets.argmax(axis=1)]
    assert genres == [track.split(".")[0] for track in tracks]


def test_rows_without_a_spectrogram_are_left_out(noise, separable, make_store):
    folds = splits.folds(tracks_of(noise), k=3)
    ids = [track for track in separable.track_id if track != folds[0].test[0]]
    result = validate(two, noise, folds[:1], epochs=1, spectrograms=make_store(ids))
    assert sorted(result.rows["track_id"]) == list(folds[0].test[1:])


def test_a_store_of_segments_is_refused(noise, make_store):
    folds = splits.folds(tracks_of(noise), k=3)
    with pytest.raises(GtzanKerasError, match="several spectrograms per track"):
        validate(two, noise, folds, spectrograms=make_store(["disco.00000", "disco.00000"]))


def test_the_same_seed_gives_the_same_network_and_another_seed_another(table, folds):
    first, same, other = (validate(small_network, table, folds[:1], epochs=1, seed=n) for n in (3, 3, 4))
    pd.testing.assert_frame_equal(first.rows, same.rows)
    assert not np.allclose(first.rows[GENRES], other.rows[GENRES], atol=1e-4)


def test_copies_on_two_sides_are_refused_unless_marked_leaky():
    names = ["metal.00058", "pop.00000", "rock.00016", "pop.00001"]
    files, labels = [f"{name}.wav" for name in names], [name.split(".")[0] for name in names]
    table = make_table(["metal"], 4).assign(filename=files, label=labels)
    leak = Split("by hand", tuple(names[:2]), (), tuple(names[2:]))
    with pytest.raises(GtzanKerasError, match="copies of one recording are in two parts"):
        validate(lambda: classical("knn", n_neighbors=1), table, [leak])
    marked = dataclasses.replace(leak, leaky=True)
    assert validate(lambda: classical("knn", n_neighbors=1), table, [marked]).leaky


def test_tracks_with_the_same_features_are_copies_that_splits_keep_together():
    names = [f"{genre}/song {number}.wav" for genre in ("fado", "folk") for number in range(6)]
    values = np.random.default_rng(0).normal(size=(12, len(FEATURE_COLUMNS)))
    values[[7, 9]] = values[2]  # under another name, and in another genre
    table = pd.DataFrame(values, columns=[*FEATURE_COLUMNS])
    table = table.assign(filename=names, length=661794, label=[name.split("/")[0] for name in names])
    found = tracks_of(table)
    same = {"fado/song 2", "folk/song 1", "folk/song 3"}
    copies = dict(zip(found["track_id"], found["duplicates"], strict=True))
    assert {track_id: {*ids} for track_id, ids in copies.items() if ids} == {
        one: same - {one} for one in same
    }
    for seed in range(5):
        for fold in splits.folds(found, 2, seed=seed):
            assert len(same & {*fold.test}) in (0, 3)
    assert tracks_of(table[["filename", "label"]])["duplicates"].map(len).sum() == 0  # nothing to compare
    known = describe(dict(zip(found["track_id"], found["genre"], strict=True)))
    known["duplicates"] = [("fado/song 2",) * (one == "fado/song 0") for one in known["track_id"]]
    both = dict(zip(found["track_id"], tracks_of(table, known)["duplicates"], strict=True))
    assert {*both["fado/song 0"]} == same
    with pytest.raises(GtzanKerasError, match=r"1 track\(s\) of the table are not .* such as fado/song 0"):
        tracks_of(table, known.iloc[1:])


def test_segments_follow_their_track_and_vote_with_their_mean_probabilities(segments):
    folds = splits.folds(tracks_of(segments), k=3)
    result = validate(lambda: classical("logistic_regression"), segments, folds)
    for number, fold in enumerate(folds):
        tested = set(result.rows.loc[result.rows["fold"] == number, "track_id"])
        assert tested == set(fold.test)
    assert (len(result.rows), len(result.tracks), result.leaky) == (180, 36, False)
    for track in result.tracks.itertuples():
        votes = result.rows.loc[result.rows["track_id"] == track.track_id, GENRES].mean()
        assert track.predicted == votes.idxmax()


def test_random_rows_put_a_track_on_both_sides_and_say_so(segments):
    folds = row_folds(segments, k=3, seed=1)
    sides = [{name.rsplit(".", 2)[0] for name in part} for part in (folds[0].train, folds[0].test)]
    assert sides[0] & sides[1]
    assert sorted(name for fold in folds for name in fold.test) == sorted(segments["filename"])
    assert all(fold.leaky and "leaky" in fold.name and "seed 1" in fold.name for fold in folds)
    assert validate(lambda: classical("knn"), segments, folds).scores()["leaky"].all()


def test_single_rows_in_a_fold_that_is_not_marked_leaky_are_refused(segments):
    unmarked = dataclasses.replace(row_folds(segments, k=3)[0], leaky=False)
    with pytest.raises(GtzanKerasError, match="no row of its train part"):
        validate(lambda: classical("knn"), segments, [unmarked])


def test_excluded_genres_are_gone_from_training_and_scores(table, folds):
    result = validate(lambda: classical("svm"), table, folds, exclude_genres=["metal"])
    assert result.genres == ["blues", "pop"]
    assert set(result.rows["genre"]) == {"blues", "pop"}
    assert result.folds["train"].tolist() == [40, 40, 40]
    assert result.confusion_matrix().shape == (2, 2)


def test_tracks_that_the_table_lacks_are_named(table, folds, caplog):
    result = validate(lambda: classical("knn"), table[table["filename"] != "pop.00003.wav"], folds)
    assert result.missing == ("pop.00003",)
    assert "pop.00003" in caplog.text


def test_a_genre_that_no_training_row_has_gets_probability_zero_and_a_warning(table, caplog):
    ids = table["filename"].str[:-4]
    split = Split("by hand", tuple(ids[:45]), (), tuple(ids[45:75]))
    result = validate(LogisticRegression, table, [split])
    assert (result.rows["pop"] == 0).all()
    np.testing.assert_allclose(result.rows[["blues", "metal"]].sum(axis=1), 1)
    assert "no training track for genre(s) pop, so at most 50.0 % of the test tracks can be" in caplog.text


def test_the_svms_probabilities_agree_with_its_predictions(table, folds):
    for excluded in ([], ["pop"]):
        result = validate(lambda: classical("svm"), table, folds, exclude_genres=excluded)
        np.testing.assert_allclose(result.rows[result.genres].sum(axis=1), 1)
        assert result.rows[result.genres].idxmax(axis=1).tolist() == result.rows["predicted"].tolist()


def test_intervals_resample_tracks_that_leaky_folds_test_several_times(segments):
    result = validate(lambda: classical("svm"), segments, row_folds(segments, k=5))
    pairs = len(result.tracks)  # a fold and a track
    tracks = result.tracks["track_id"].nunique()
    assert pairs > 3 * tracks
    right = (result.tracks["genre"] == result.tracks["predicted"]).to_numpy()
    codes = np.unique(result.tracks["track_id"], return_inverse=True)[1]
    random = np.random.default_rng(1)
    draws = random.integers(tracks, size=(4000, tracks))
    hits, counts = np.bincount(codes, right), np.bincount(codes)
    low, high = np.percentile(hits[draws].sum(axis=1) / counts[draws].sum(axis=1), [2.5, 97.5])
    interval = result.intervals()["accuracy"]
    assert (interval["low"], interval["high"]) == pytest.approx((low, high), abs=0.02)


def test_own_files_with_numbers_in_their_names_are_tracks_of_their_own():
    names = ["take.1.wav", "take.2.wav", "song.mp3"]
    own = pd.DataFrame({"filename": names, "label": "polka"})
    assert tracks_of(own)["track_id"].tolist() == ["polka/song", "polka/take.1", "polka/take.2"]
    cut = pd.DataFrame({"filename": ["take.1#0.wav", "take.1#1.wav", "polka/song#0.mp3"], "label": "polka"})
    assert tracks_of(cut)["track_id"].tolist() == ["polka/song", "polka/take.1"]


@pytest.mark.parametrize(
    ("build", "arguments", "words"),
    [
        (lambda: dense((3,), 3), {}, r"maps .*\(3,\)} to 3 classes, but there are .*\(4,\)} and 3 genres"),
        (lambda: two_branch((4,), (8, 8, 1), 3), {}, r"'spectrogram': \(8, 8, 1\)} to 3 classes, but"),
        (RandomForestClassifier, {"columns": ["tempo", "mfcc9_mean"]}, "which has no mfcc9_mean"),
        (RandomForestClassifier, {"folds": []}, "folds is empty"),
        (RandomForestClassifier, {"augmentation": STRONG_AUGMENTATION}, "augmentation: expected None"),
        (RandomForestClassifier, {"exclude_genres": ["pop", "metal"]}, "at least two must remain"),
        (RandomForestClassifier, {"folds": [Split("other", ("a.1",), (), ("b.1",))]}, "no row of its train"),
    ],
)
def test_bad_input_meets_one_clear_error(table, folds, build, arguments, words):
    with pytest.raises(GtzanKerasError, match=words):
        validate(build, table, **{"folds": folds, **arguments})


def test_a_hole_in_the_table_is_named(table, folds):
    holed = table.assign(tempo=table["tempo"].where(table["filename"] != "pop.00002.wav"))
    with pytest.raises(GtzanKerasError, match=r"column\(s\) tempo: expected finite"):
        validate(lambda: classical("knn"), holed, folds)
