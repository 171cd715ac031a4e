"""scikit-learn's own checks, on several configurations of the estimator."""

from collections import Counter

from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from skdeepdive import DeepDIVEForecaster
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster

CONFIGURATIONS = [
    DeepDIVEForecaster(),
    DeepDIVEForecaster(n_channels=1, n_hidden=32, max_epochs=3),
    DeepDIVEForecaster(latent="conditional", max_epochs=3),
    DeepDIVEForecaster(latent="marginal", max_epochs=3),
    VAEForecaster(n_latent=4, n_hidden=32, max_epochs=3),
    BetaTCVAEForecaster(n_latent=4, n_hidden=32, max_epochs=3),
]


@parametrize_with_checks(CONFIGURATIONS)
def test_estimator_passes_the_common_check(estimator, check):
    check(estimator)


def test_more_than_forty_checks_run_on_every_configuration():
    for estimator in CONFIGURATIONS:
        names = Counter(check.func.__name__ for _, check in estimator_checks_generator(estimator))
        assert sum(names.values()) > 40
