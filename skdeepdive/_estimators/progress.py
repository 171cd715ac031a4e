"""Progress of a fit: a bar where tqdm is installed, or one line an epoch."""

import sys
from collections.abc import Callable
from contextlib import contextmanager

from .._train.phases import INTERLEAVED


@contextmanager
def progress(verbose: int, max_epochs: int):
    """Yield a function that reports the record of an epoch; it does nothing if `verbose` is 0.

    From 2 on every term is shown, on one line an epoch.
    """
    if not verbose:
        yield lambda record: None
        return
    if verbose > 1:
        yield lambda record: sys.stderr.write(_line(record, _terms(record)) + "\n")
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        yield lambda record: sys.stderr.write(_line(record, _main_terms(record)) + "\n")
        return
    with tqdm(total=max_epochs, desc="fit", unit="epoch") as bar:
        yield _updater(bar)


def _updater(bar) -> Callable[[dict], None]:
    def update(record: dict) -> None:
        bar.set_postfix_str(_listed(record, _main_terms(record)))
        if record["phase"] == INTERLEAVED:
            bar.update()

    return update


def _line(record: dict, terms: list[str]) -> str:
    return f"{record['phase']} epoch {record['epoch']}: {_listed(record, terms)}"


def _listed(record: dict, terms: list[str]) -> str:
    return ", ".join(f"{name} {record[name]:.4g}" for name in terms)


def _main_terms(record: dict) -> list[str]:
    """Name the validation loss, which early stopping follows, and the terms in training."""
    training = [name for name in _terms(record) if not name.startswith("validation_")]
    return ["validation_loss", *training]


def _terms(record: dict) -> list[str]:
    return [name for name in record if name not in ("phase", "epoch", "learning_rate")]
