"""Fisher's discriminants against scikit-learn, and what unlabelled windows add; in float64."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from skdeepdive._data.batches import WindowData
from skdeepdive._data.labels import UNLABELLED
from skdeepdive._data.scaling import Scaling
from skdeepdive._start import discriminants, fisher
from skdeepdive._start.sums import PENALTIES


class Flat:
    """Features that are the entries of the window, so that nothing is standardised."""

    n_pooled = 0

    def __init__(self, n_features=4):
        self.n_features = n_features
        self.kinds = [slice(0, n_features)]

    def of(self, batch):
        return SimpleNamespace(with_pooled=batch.x.flatten(1))


flat = Flat()


def fit_discriminants(*args):
    """Return those of the training windows."""
    return discriminants.fit_discriminants(*args)[0]


def make_data(X, labels):
    x_scaling = Scaling(np.zeros(X.shape[2]), np.ones(X.shape[2]))
    y, y_scaling = np.zeros((len(X), 1, 1)), Scaling(np.zeros(1), np.ones(1))
    labels = labels[:, None] if labels.ndim == 1 else labels
    return WindowData(X, y, labels, x_scaling, y_scaling, torch.device("cpu"), np.float64)


def make_classes(n=600, n_classes=3, seed=0):
    """Correlated Gaussian clouds (n, 2, 2) of unequal, but similar size, not around zero."""
    rng = np.random.default_rng(seed)
    frequencies = np.linspace(1.0, 1.5, n_classes)
    labels = rng.choice(n_classes, n, p=frequencies / frequencies.sum())
    mixing = np.eye(4) + 0.3 * rng.normal(size=(4, 4))
    X = rng.normal(size=(n, 4)) @ mixing + 1.5 * rng.normal(size=(n_classes, 4))[labels] + 2
    return X.reshape(n, 2, 2), labels


def log_posterior(X, weight, bias):
    logits = torch.from_numpy(X.reshape(len(X), -1)) @ weight.double().T + bias.double()
    return logits.log_softmax(1).numpy()


def cross_entropy(data, weight, bias):
    """Mean over the windows that have a label."""
    label = data.labels[:, 0]
    known = label != UNLABELLED
    return -log_posterior(data.X[known], weight, bias)[np.arange(known.sum()), label[known]].mean()


@pytest.fixture
def unregularised(monkeypatch):
    monkeypatch.setattr(discriminants, "PENALTIES", (1e-12,))
    monkeypatch.setattr(discriminants, "TEMPERATURES", (1.0,))


# Labels throughout


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.usefixtures("unregularised")
def test_fisher_posterior_is_that_of_scikit_learn(n_classes):
    X, labels = make_classes(n_classes=n_classes)
    data = make_data(X, labels)
    found = log_posterior(X, *fit_discriminants(data, data, flat, [n_classes]))
    model = LinearDiscriminantAnalysis(solver="lsqr").fit(X.reshape(len(X), -1), labels)
    np.testing.assert_allclose(found, model.predict_log_proba(X.reshape(len(X), -1)), atol=1e-4)


@pytest.mark.usefixtures("unregularised")
def test_uneven_classes_weigh_alike_in_the_moments():
    X, labels = make_classes(n_classes=2)
    rare, others = np.flatnonzero(labels == 0)[:60], np.flatnonzero(labels == 1)[:180]
    uneven, even = np.r_[rare, others], np.r_[np.repeat(rare, 3), others]
    (weight, bias), (expected, of_even) = (
        fit_discriminants(data, data, flat, [2])
        for data in (make_data(X[rows], labels[rows]) for rows in (uneven, even))
    )
    torch.testing.assert_close(weight, expected)
    frequencies = torch.tensor([0.25, 0.75])
    torch.testing.assert_close(bias, of_even + (frequencies / 0.5).log())


@pytest.mark.usefixtures("unregularised")
def test_an_uneven_factor_leaves_others_as_they_are():
    X, labels = make_classes()
    rare = (np.arange(len(X)) % 10 == 0).astype(int)
    both, alone = make_data(X, np.stack([labels, rare], axis=1)), make_data(X, labels)
    found = fit_discriminants(both, both, flat, [3, 2])
    for part, expected in zip(found, fit_discriminants(alone, alone, flat, [3]), strict=True):
        torch.testing.assert_close(part[:3], expected)


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_the_penalty_shrinks_the_within_class_covariance(penalty, monkeypatch):
    monkeypatch.setattr(discriminants, "PENALTIES", (penalty,))
    monkeypatch.setattr(discriminants, "TEMPERATURES", (1.0,))
    X, labels = make_classes()
    data = make_data(X, labels)
    found = log_posterior(X, *fit_discriminants(data, data, flat, [3]))
    f = X.reshape(len(X), -1)
    means = np.stack([f[labels == k].mean(axis=0) for k in range(3)])
    within = (f - means[labels]).T @ (f - means[labels]) / len(f)
    within += penalty * f.var(axis=0).mean() * np.eye(4)
    distance = [np.einsum("ni,ij,nj->n", f - m, np.linalg.inv(within), f - m) for m in means]
    logits = np.log(np.bincount(labels) / len(f)) - 0.5 * np.stack(distance, axis=1)
    expected = torch.from_numpy(logits).log_softmax(1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.usefixtures("unregularised")
def test_factors_are_fitted_side_by_side():
    X, labels = make_classes()
    other = np.arange(len(X)) % 2
    both = make_data(X, np.stack([labels, other], axis=1))
    weight, bias = fit_discriminants(both, both, flat, [3, 2])
    assert weight.shape == (5, 4)
    assert bias.shape == (5,)
    for part, column, n_classes in ((slice(0, 3), labels, 3), (slice(3, 5), other, 2)):
        data = make_data(X, column)
        alone = fit_discriminants(data, data, flat, [n_classes])
        torch.testing.assert_close(weight[part], alone[0])
        torch.testing.assert_close(bias[part], alone[1])


def test_the_chosen_discriminant_has_the_least_validation_cross_entropy(monkeypatch):
    monkeypatch.setattr(discriminants, "_MANY", 0)  # no folds
    X, labels = make_classes(n=160, n_classes=4)
    data = make_data(X, labels)
    train, valid = data.part(slice(0, 40)), data.part(slice(40, None))

    def loss():
        return cross_entropy(valid, *fit_discriminants(train, valid, flat, [4]))

    chosen, alone = loss(), []
    for penalty in PENALTIES:
        for temperature in discriminants.TEMPERATURES:
            with monkeypatch.context() as patch:
                patch.setattr(discriminants, "PENALTIES", (penalty,))
                patch.setattr(discriminants, "TEMPERATURES", (temperature,))
                alone.append(loss())
    assert chosen == pytest.approx(min(alone), rel=1e-6)
    assert max(alone) > 1.01 * chosen


def test_classes_absent_from_training_are_finite_and_never_predicted():
    X, labels = make_classes(n_classes=3)
    data = make_data(X, labels)
    weight, bias = fit_discriminants(data, data, flat, [5])
    assert weight.isfinite().all()
    assert bias.isfinite().all()
    posterior = np.exp(log_posterior(X, weight, bias))
    assert (posterior[:, 3:] < 1e-3).all()
    assert (posterior.argmax(axis=1) == labels).mean() > 0.6


# Labels of some windows


def make_few_labels(seed, n_labelled=40, n=2000, n_features=20, n_classes=4):
    """Clouds that share a covariance: training windows of which few are labelled, and others.

    Returns the training, the validation and the test windows; the latter two have all labels.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, 3 * n)
    centres = 4 * rng.normal(size=(n_classes, n_features)) / n_features**0.5
    mixing = np.eye(n_features) + 0.2 * rng.normal(size=(n_features, n_features))
    X = (centres[labels] + rng.normal(size=(3 * n, n_features))) @ mixing
    labels[n_labelled:n] = UNLABELLED
    data = make_data(X.reshape(3 * n, -1, 2), labels)
    return [data.part(slice(start, start + n)) for start in (0, n, 2 * n)]


def without_rounds(train, valid, features, class_counts):
    """Discriminants of the labelled windows only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discriminants, "MAX_ROUNDS", 0)
        return fit_discriminants(train, valid, features, class_counts)


def accuracy(data, weight, bias):
    return (log_posterior(data.X, weight, bias).argmax(axis=1) == data.labels[:, 0]).mean()


@pytest.mark.parametrize("seed", range(5))
def test_unlabelled_windows_of_the_same_clouds_halve_the_errors(seed):
    train, valid, test = make_few_labels(seed)
    before, after = (
        1 - accuracy(test, *fit(train, valid, Flat(20), [4]))
        for fit in (without_rounds, fit_discriminants)
    )
    assert after < 0.5 * before


@pytest.mark.parametrize("n_labelled_valid", [20, 200])
@pytest.mark.parametrize("kind", ["clouds", "noise"])
@pytest.mark.parametrize("seed", range(3))
def test_no_round_raises_the_validation_cross_entropy(seed, kind, n_labelled_valid, monkeypatch):
    train, valid, _ = make_few_labels(seed, n=500)
    valid.labels[n_labelled_valid:] = UNLABELLED
    if kind == "noise":
        train.X[40:] = np.random.default_rng(seed).standard_cauchy(size=train.X[40:].shape)
    losses = []
    for n_rounds in range(10):
        monkeypatch.setattr(discriminants, "MAX_ROUNDS", n_rounds)
        losses.append(cross_entropy(valid, *fit_discriminants(train, valid, Flat(20), [4])))
    assert (np.diff(losses) <= 1e-6).all()


@pytest.mark.usefixtures("unregularised")
def test_a_round_is_an_em_step_of_a_mixture_with_one_covariance(monkeypatch):
    monkeypatch.setattr(discriminants, "MAX_ROUNDS", 1)
    train, valid, _ = make_few_labels(0)
    f, labels = train.X.reshape(len(train), -1), train.labels[:, 0]
    known = labels != UNLABELLED
    start = without_rounds(train, valid, Flat(20), [4])
    member = np.where(known[:, None], labels[:, None] == np.arange(4),
                      np.exp(log_posterior(train.X, *start)))  # fmt: skip
    means = member.T @ f / member.sum(axis=0)[:, None]
    deviations = f[:, None] - means
    within = np.einsum("nk,nki,nkj->ij", member, deviations, deviations) / len(f)
    distance = np.einsum("nki,ij,nkj->nk", deviations, np.linalg.inv(within), deviations)
    logits = np.log(member.mean(axis=0)) - 0.5 * distance
    expected = torch.from_numpy(logits).log_softmax(1).numpy()
    found = log_posterior(train.X, *fit_discriminants(train, valid, Flat(20), [4]))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_factors_labelled_throughout_are_not_moved_by_others():
    X, labels = make_classes()
    other = np.where(np.arange(len(X)) % 10, UNLABELLED, labels)
    alone = make_data(X, labels)
    mixed = make_data(X, np.stack([other, labels], axis=1))
    found = fit_discriminants(mixed, mixed, flat, [3, 3])
    for all_logits, expected in zip(found, fit_discriminants(alone, alone, flat, [3]), strict=True):
        assert torch.equal(all_logits[3:], expected)


def test_labels_throughout_take_no_rounds(monkeypatch):
    def fail(*args):
        pytest.fail("A round has nothing to learn from.")

    monkeypatch.setattr(fisher.ClassDiscriminants, "posterior", fail)
    X, labels = make_classes()
    data = make_data(X, labels)
    fit_discriminants(data, data, flat, [3])


def test_factors_may_be_labelled_on_different_windows(monkeypatch):
    monkeypatch.setattr(discriminants, "_MANY", 0)  # no folds: they depend on all factors
    X, labels = make_classes()
    half, third = labels.copy(), np.arange(len(X)) % 2
    half[::2], third[100:200] = UNLABELLED, UNLABELLED
    both = make_data(X, np.stack([half, third, labels], axis=1))
    weight, bias = fit_discriminants(both, both, flat, [3, 2, 3])
    parts = zip((slice(0, 3), slice(3, 5), slice(5, 8)), (half, third, labels), strict=True)
    for part, column in parts:
        data = make_data(X, column)
        alone = fit_discriminants(data, data, flat, [part.stop - part.start])
        torch.testing.assert_close(weight[part], alone[0], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(bias[part], alone[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("n_unlabelled", [10, 600, 6000])
@pytest.mark.parametrize("part", ["train", "valid", "both"])
def test_unlabelled_windows_of_no_class_do_little_harm(n_unlabelled, part):
    """As do those between the exercises of a session, if the validation windows had no say."""
    X, labels = make_classes()
    elsewhere = 2 + 0.3 * np.random.default_rng(1).normal(size=(n_unlabelled, 2, 2))
    alone = make_data(X, labels)
    mixed = make_data(
        np.concatenate([X, elsewhere]), np.concatenate([labels, np.full(n_unlabelled, UNLABELLED)])
    )
    train, valid = (mixed if part in (name, "both") else alone for name in ("train", "valid"))
    found = fit_discriminants(train, valid, flat, [3])
    expected = fit_discriminants(alone, alone, flat, [3])
    assert cross_entropy(valid, *found) <= cross_entropy(alone, *expected) + 1e-6
    assert accuracy(alone, *found) > accuracy(alone, *expected) - 0.01


@pytest.mark.parametrize("part", ["train", "valid"])
def test_a_part_without_any_label_gives_finite_discriminants(part):
    X, labels = make_classes()
    full, none = (make_data(X, some) for some in (labels, np.full_like(labels, UNLABELLED)))
    pair = (none, full) if part == "train" else (full, none)
    weight, bias = fit_discriminants(*pair, flat, [3])
    assert weight.isfinite().all()
    assert bias.isfinite().all()


def test_without_validation_labels_the_default_penalty_sees_labelled_windows_only(monkeypatch):
    monkeypatch.setattr(discriminants, "_MANY", 0)  # no folds
    train, valid, _ = make_few_labels(0)
    valid.labels[:] = UNLABELLED
    found = fit_discriminants(train, valid, Flat(20), [4])
    monkeypatch.setattr(discriminants, "PENALTIES", (discriminants.DEFAULT_PENALTY,))
    monkeypatch.setattr(discriminants, "TEMPERATURES", discriminants.TEMPERATURES[:1])
    labelled = train.part(slice(0, 40))
    for logits, expected in zip(
        found, fit_discriminants(labelled, labelled, Flat(20), [4]), strict=True
    ):
        torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize("in_validation", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_class_without_labelled_training_windows_gains_none(seed, in_validation):
    """Not even those around the overall mean, where it is put for want of a better place."""
    train, valid, test = make_few_labels(seed)
    for data in (train,) if in_validation else (train, valid):
        data.labels[data.labels == 3] = UNLABELLED
    weight, bias = fit_discriminants(train, valid, Flat(20), [4])
    assert weight.isfinite().all()
    assert bias.isfinite().all()
    torch.testing.assert_close(weight[3], torch.zeros(20), rtol=0, atol=1e-5)
    posterior = np.exp(log_posterior(test.X, weight, bias))
    assert not (posterior.argmax(axis=1) == 3).any()
    seen = test.labels[:, 0] != 3
    assert (posterior.argmax(axis=1) == test.labels[:, 0])[seen].mean() > 0.5


@pytest.mark.parametrize("n_rows", [1, 7, 64])
def test_the_size_of_the_batches_does_not_matter(n_rows, monkeypatch):
    X, labels = make_classes(200)
    few = np.where(np.arange(200) % 8, UNLABELLED, labels)
    data, valid = (
        make_data(X, np.stack([few, labels], axis=1)),
        make_data(X, np.stack([labels, labels], axis=1)),
    )
    whole = fit_discriminants(data, valid, flat, [3, 3])
    monkeypatch.setattr(fisher, "rows_per_batch", lambda data, n_classes: n_rows)
    for found, expected in zip(fit_discriminants(data, valid, flat, [3, 3]), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


# Cross-validation, and the fit to all windows


def cut(data, n_train):
    return data.part(slice(0, n_train)), data.part(slice(n_train, None))


@pytest.mark.parametrize(("many", "expected"), [(0, [100]), (401, [100, 80, 80, 80, 80, 80])])
def test_few_windows_take_turns_in_validation(many, expected, monkeypatch):
    monkeypatch.setattr(discriminants, "_MANY", many)
    evaluate, sizes = discriminants.cross_entropies, []

    def record(candidates, described, temperatures):
        sizes.append(len(described.data))
        return evaluate(candidates, described, temperatures)

    monkeypatch.setattr(discriminants, "cross_entropies", record)
    fit_discriminants(*cut(make_data(*make_classes(n=500)), 400), flat, [3])
    assert sizes[: len(expected)] == pytest.approx(expected, abs=3)


@pytest.mark.parametrize("n_labelled", [500, 100])
def test_results_are_the_same_where_features_are_not_kept(n_labelled, monkeypatch):
    X, labels = make_classes(n=500)
    labels[:n_labelled:5] = UNLABELLED
    data = cut(make_data(X, labels), 400)
    expected = fit_discriminants(*data, flat, [3])
    monkeypatch.setattr(fisher, "_MOST_KEPT", 0)
    for found, kept in zip(fit_discriminants(*data, flat, [3]), expected, strict=True):
        torch.testing.assert_close(found, kept, rtol=0, atol=0)


def test_the_refit_is_that_of_all_windows_in_the_same_setting(monkeypatch):
    monkeypatch.setattr(discriminants, "PENALTIES", (1e-2,))
    monkeypatch.setattr(discriminants, "TEMPERATURES", (2.0,))
    data = make_data(*make_classes())
    refit = discriminants.fit_discriminants(*cut(data, 400), flat, [3])[1]
    expected = fit_discriminants(data, data, flat, [3])
    for found, of_all in zip(refit, expected, strict=True):
        torch.testing.assert_close(found, of_all)


def test_groups_are_not_divided_among_folds(monkeypatch):
    """Features that tell the group as well are of no use for new groups."""
    groups = np.arange(200) // 20
    chosen = []

    def record(labels, n_folds, given):
        chosen.append(given)
        return np.zeros(len(labels), dtype=int)

    monkeypatch.setattr(discriminants, "label_folds", record)
    X, labels = make_classes(n=250)
    train, valid = cut(make_data(X, labels), 200)
    fit_discriminants(train, valid, flat, [3], groups)
    np.testing.assert_array_equal(chosen[0], groups)
