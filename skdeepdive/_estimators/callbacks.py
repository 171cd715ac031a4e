"""Adapter to scikit-learn's callbacks, where its release has them (from 1.9)."""

from collections.abc import Callable
from typing import Any, TypeVar

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import with_callbacks as _with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]  # it was not imported
        """Stand in for what an older release lacks: there are no callbacks to set."""

    def _with_callbacks(method):
        return method


Method = TypeVar("Method", bound=Callable)


def with_callbacks(method: Method) -> Method:
    """Let callbacks finish where the method does, and type checkers see its signature."""
    return _with_callbacks(method)


def begin_fit(estimator, X, y) -> Callable[[str, Callable[[], dict[str, Any]]], bool]:
    """Tell an estimator's callbacks that its fit begins.

    Returns
    -------
    end_epoch : callable
        Tells them that an epoch has ended, given its name and a function that returns the
        attributes the estimator would have if the fit stopped here. Returns whether it shall.
    """
    if not hasattr(estimator, "_init_callback_context"):
        return never_stop
    fit = estimator._init_callback_context(max_subtasks=None)
    data = {"estimator": estimator, "X": X, "y": y}
    fit.call_on_fit_task_begin(**data)

    def end_epoch(name: str, attributes: Callable[[], dict[str, Any]]) -> bool:
        epoch = fit.subcontext(task_name=name)
        epoch.call_on_fit_task_begin(**data)
        return epoch.call_on_fit_task_end(**data, reconstruction_attributes=attributes)

    return end_epoch


def never_stop(name: str, attributes: Callable[[], dict[str, Any]]) -> bool:
    """Take the end of an epoch where there are no callbacks to tell."""
    return False


def end_fit(estimator, X, y, attributes: dict[str, Any]) -> None:
    """Tell an estimator's callbacks that its fit has ended, with the attributes it will have."""
    if hasattr(estimator, "_callback_fit_ctx"):
        estimator._callback_fit_ctx.call_on_fit_task_end(
            estimator=estimator,
            X=X,
            y=y,
            reconstruction_attributes=lambda: attributes,
        )
