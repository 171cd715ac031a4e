"""Steps before the estimator, and steps that take its embedding further."""

import io

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from conftest import DAY, make_model, relative_errors, root_mean_square
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import adjusted_rand_score, roc_auc_score
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

EMBEDDING = ["hour_0", "hour_1", "weekday_0", "weekday_1", "conditional_0", "conditional_1"]


# Before it


def flatten(X):
    return X.reshape(len(X), -1)


def test_flattened_windows_go_through_a_scaler(clients):
    train, test = clients
    pipeline = make_pipeline(StandardScaler(), make_model(n_channels=9))
    pipeline.fit(flatten(train.X), train.y, deepdiveforecaster__factors=train.factors)
    forecast = pipeline.predict(flatten(test.X))
    assert forecast.shape == test.y.shape
    assert pipeline[-1].n_channels_ == 9
    assert relative_errors(forecast, test).mean() < 0.9
    scaled = pipeline[:-1].transform(flatten(test.X))
    assert pipeline.score(flatten(test.X), test.y) == pipeline[-1].score(scaled, test.y)


def test_a_column_transformer_scales_channels_apart_if_their_order_is_restored(clients):
    train, n_channels = clients[0], 9
    table = np.array([[f"hour {j}, client {k}" for k in range(n_channels)] for j in range(72)])
    names, even, odd = (part.ravel().tolist() for part in (table, table[:, ::2], table[:, 1::2]))
    tables = [pd.DataFrame(flatten(part.X), columns=names) for part in clients]
    scaler = make_column_transformer(
        (StandardScaler(), even), (MinMaxScaler(), odd), verbose_feature_names_out=False
    )
    order = make_column_transformer(("passthrough", names), verbose_feature_names_out=False)
    pipeline = make_pipeline(scaler, order, make_model(n_channels=n_channels, max_epochs=1))
    pipeline.set_output(transform="pandas").fit(tables[0], train.y)
    # Its columns are those of one transformer after the other, not one hour after the other.
    assert pipeline[0].get_feature_names_out().tolist() == even + odd
    assert pipeline[-1].feature_names_in_.tolist() == names

    scaled = [np.empty(part.X.shape) for part in clients]
    for k in range(n_channels):
        by_hand = (MinMaxScaler() if k % 2 else StandardScaler()).fit(train.X[..., k])
        for out, part in zip(scaled, clients, strict=True):
            out[..., k] = by_hand.transform(part.X[..., k])
    expected = make_model(max_epochs=1).fit(scaled[0], train.y).predict(scaled[1])
    np.testing.assert_allclose(pipeline.predict(tables[1]), expected, rtol=1e-3)


# After it


def test_a_pipeline_gives_the_embedding_as_a_data_frame(client):
    train, test = client
    pipeline = make_pipeline(StandardScaler(), make_model(n_marginal=2, n_conditional=2))
    pipeline.set_output(transform="pandas")
    pipeline.fit(train.X, train.y, deepdiveforecaster__factors=train.factors)
    index = pd.date_range("2014-12-01", periods=len(test.X), freq="h")
    embedding = pipeline.transform(pd.DataFrame(test.X, index=index))
    assert embedding.columns.tolist() == EMBEDDING
    assert pipeline.get_feature_names_out().tolist() == EMBEDDING
    assert embedding.index.equals(index)


def test_a_pipeline_gives_the_embedding_as_a_polars_frame(client):
    polars = pytest.importorskip("polars")
    train, test = client
    pipeline = make_pipeline(StandardScaler(), make_model(n_marginal=2, n_conditional=2))
    pipeline.set_output(transform="polars")
    pipeline.fit(train.X, train.y, deepdiveforecaster__factors=train.factors)
    embedding = pipeline.transform(test.X)
    assert isinstance(embedding, polars.DataFrame)
    assert embedding.columns == EMBEDDING
    assert pipeline[-1].feature_names_in_.tolist() == [f"x{k}" for k in range(72)]
    pipeline.set_output(transform="pandas")
    np.testing.assert_array_equal(embedding.to_numpy(), pipeline.transform(test.X).to_numpy())


def test_a_pipeline_decodes_the_embedding_in_the_units_of_the_load(client):
    train, test = client
    pipeline = make_pipeline(StandardScaler(), make_model())
    pipeline.fit(train.X, train.y, deepdiveforecaster__factors=train.factors)
    decoded = pipeline.inverse_transform(pipeline.transform(test.X))
    assert decoded.shape == test.X.shape
    mean = train.X.mean(axis=0)
    assert root_mean_square(decoded - test.X) < 0.8 * root_mean_square(mean - test.X)


def test_the_embedding_feeds_a_classifier(client):
    train, test = client
    weekend, test_weekend = (part.factors["weekday"] >= 5 for part in (train, test))
    # The label to predict takes the place of the future: numbers are all that is asked of it.
    pipeline = make_pipeline(
        StandardScaler(), make_model(latent="conditional"), LogisticRegression(max_iter=1000)
    )
    pipeline.fit(train.X, weekend)
    assert pipeline.predict(test.X).dtype == bool
    assert pipeline.score(test.X, test_weekend) > max(test_weekend.mean(), 1 - test_weekend.mean())


def test_the_embedding_feeds_a_clustering(client):
    train, test = client
    pipeline = make_pipeline(
        StandardScaler(), make_model(latent="marginal"), KMeans(DAY, n_init=3, random_state=0)
    )
    pipeline.fit(train.X, train.y, deepdiveforecaster__factors=train.factors["hour"])
    assert adjusted_rand_score(test.factors["hour"], pipeline.predict(test.X)) > 0.7


def test_the_embedding_feeds_a_search_for_anomalies(client):
    train, test = client
    pipeline = make_pipeline(
        StandardScaler(), make_model(latent="conditional"), IsolationForest(random_state=0)
    )
    pipeline.fit(train.X, train.y)
    odd = test.X.copy()
    odd[:, -DAY:] *= 2  # the last day has twice the load
    scores = pipeline.score_samples(np.concatenate([test.X, odd]))
    assert roc_auc_score(np.repeat([1, 0], len(test.X)), scores) > 0.8


def test_the_embedding_stands_beside_other_features_in_a_union(client):
    train, test = client
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_model(n_marginal=2, n_conditional=2).set_fit_request(factors=True)
        union = FeatureUnion([("embedding", model), ("load", StandardScaler())])
        pipeline = make_pipeline(union, Ridge()).set_output(transform="pandas")
        pipeline.fit(train.X, train.y, factors=train.factors)
    names = [*(f"embedding__{name}" for name in EMBEDDING), *(f"load__x{k}" for k in range(72))]
    assert pipeline[:-1].transform(test.X).columns.tolist() == names
    assert pipeline[-1].feature_names_in_.tolist() == names
    error = root_mean_square(pipeline.predict(test.X) - test.y)
    assert error < 0.8 * root_mean_square(test.X[:, -DAY:] - test.y)


def test_marginal_dimensions_hold_their_factor_for_a_linear_classifier(client, client_model):
    train, test = client
    names = client_model.get_feature_names_out()
    columns = [name.startswith("hour_") for name in names]
    classifier = LogisticRegression(max_iter=1000)
    classifier.fit(client_model.transform(train.X)[:, columns], train.factors["hour"])
    embedding = client_model.transform(test.X)[:, columns]
    assert classifier.score(embedding, test.factors["hour"]) > 0.9


# Around it


def test_a_pipeline_is_cloned_saved_and_loaded(client):
    train, test = client
    pipeline = make_pipeline(StandardScaler(), make_model())
    pipeline.fit(train.X, train.y, deepdiveforecaster__factors=train.factors)
    file = io.BytesIO()
    joblib.dump(pipeline, file, compress=3)
    loaded = joblib.load(io.BytesIO(file.getvalue()))
    np.testing.assert_array_equal(loaded.predict(test.X), pipeline.predict(test.X))
    cloned = clone(loaded)
    assert not hasattr(cloned[-1], "module_")
    cloned.fit(train.X, train.y, deepdiveforecaster__factors=train.factors)
    np.testing.assert_array_equal(cloned.predict(test.X), pipeline.predict(test.X))


@pytest.mark.parametrize("y_shape", ["1-D", "2-D"])
def test_forecasts_of_transformed_targets_come_back_in_their_own_units(client, y_shape):
    train, test = client
    y, test_y = (part.y if y_shape == "2-D" else part.y[:, -1] for part in client)
    y = y.astype(np.float64)  # the transformer checks that its functions are exact inverses
    model = TransformedTargetRegressor(make_model(), func=np.log, inverse_func=np.exp)
    forecast = model.fit(train.X, y).predict(test.X)
    assert forecast.shape == test_y.shape
    assert (forecast > 0).all()
    persistence = test.X[:, -DAY:] if y_shape == "2-D" else test.X[:, -1]
    assert root_mean_square(forecast - test_y) < root_mean_square(persistence - test_y)
