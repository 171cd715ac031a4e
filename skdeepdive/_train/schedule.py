"""When which part of the objective is trained, and how fast."""

# The marginal path is first trained on the labels alone, for at most this many epochs, so that
# the decoders meet clusters that hardly move any more.
MARGINAL_EPOCHS = 10
MARGINAL_PATIENCE = 3

# Learning rates of the parameter groups, relative to the estimator's. The discriminants start at
# their optimum, and so does the whole marginal path once it was trained alone.
MARGINAL_RATES = {"marginal": 0.3, "discriminant": 0.03}
INTERLEAVED_RATES = {"conditional": 1.0, "forecast": 1.0, "marginal": 0.1, "discriminant": 0.01}

# The forecast's correction overfits long before the rest has learnt to reconstruct. So in the end
# it starts anew from the finished latent variables. The validation windows will shrink it, and the
# error of the shrunk correction is what they stop it by: shrunk it may help where as it is it would
# harm.
FORECAST_PATIENCE = 4
FORECAST_RATES = {"forecast": 1.0}

# The KL of latent dimensions that do not start in closed form is weighed in over this many epochs.
KL_WARMUP_EPOCHS = 5


def kl_weight(epoch: float) -> float:
    """Weight of the KL after `epoch` epochs (a fraction counts), from 0 to 1."""
    return min(1.0, epoch / KL_WARMUP_EPOCHS)
