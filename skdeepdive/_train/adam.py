"""Adam (Kingma and Ba, 2015), step by step with torch's own function.

`torch.optim.Adam` takes the same steps, but the first one of a process loads torch's compiler, and
that takes longer than a small fit.
"""

from functools import partial

import torch
from torch.optim.adam import adam

# The customary settings; plain Adam, without its extensions.
_step = partial(
    adam,
    max_exp_avg_sqs=[],
    fused=True,
    beta1=0.9,
    beta2=0.999,
    eps=1e-8,
    weight_decay=0.0,
    amsgrad=False,
    maximize=False,
)


class Adam:
    """Steps for parameters at learning rates of their own.

    Parameters
    ----------
    rates : dict of Parameter to float
        Learning rates. Parameters of one rate take their steps together.
    moments : dict of str to tensor, default=None
        What another one had learnt of the gradients of the same parameters, as :meth:`moments`
        returns it; it is copied.
    """

    def __init__(
        self,
        rates: dict[torch.nn.Parameter, float],
        moments: dict[str, torch.Tensor] | None = None,
    ):
        self.parameters = list(rates)
        self._together = {
            rate: [i for i, p in enumerate(rates) if rates[p] == rate]
            for rate in set(rates.values())
        }
        self._means = [torch.zeros_like(p) for p in rates]
        self._squares = [torch.zeros_like(p) for p in rates]
        self._steps = [p.new_zeros(()) for p in rates]
        if moments is not None:
            for name, moment in self.moments().items():
                moment.copy_(moments[name])

    def moments(self) -> dict[str, torch.Tensor]:
        """Return the moments of the gradients, which change with every step, and their counts."""
        named = {"mean": self._means, "square": self._squares, "steps": self._steps}
        return {f"{name}.{i}": part for name in named for i, part in enumerate(named[name])}

    def gradients(self) -> list[torch.Tensor]:
        """Return the gradients of all parameters that have one."""
        return [p.grad for p in self.parameters if p.grad is not None]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, factor: float = 1.0) -> None:
        """Take a step with every parameter that has a gradient, at `factor` times its rate."""
        for rate, together in self._together.items():
            gradients = {i: p.grad for i in together if (p := self.parameters[i]).grad is not None}
            _step(
                params=[self.parameters[i] for i in gradients],
                grads=list(gradients.values()),
                exp_avgs=[self._means[i] for i in gradients],
                exp_avg_sqs=[self._squares[i] for i in gradients],
                state_steps=[self._steps[i] for i in gradients],
                lr=rate * factor,
            )
