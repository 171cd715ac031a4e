"""Progress of a fit: a bar where tqdm is installed, otherwise one line an epoch."""

import sys
from collections.abc import Callable
from contextlib import contextmanager


@contextmanager
def progress(verbose: int, max_epochs: int):
    """Yield a function that reports the record of an epoch; it does nothing if `verbose` is 0."""
    if not verbose:
        yield lambda record: None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        yield lambda record: sys.stderr.write(_line(record) + "\n")
        return
    with tqdm(total=max_epochs, desc="fit", unit="epoch") as bar:
        yield _updater(bar)


def _updater(bar) -> Callable[[dict], None]:
    def update(record: dict) -> None:
        bar.set_postfix_str(_summary(record))
        if record["phase"] == "interleaved":
            bar.update()

    return update


def _line(record: dict) -> str:
    return f"{record['phase']} epoch {record['epoch']}: {_summary(record)}"


def _summary(record: dict) -> str:
    terms = {name: value for name, value in record.items() if name not in ("phase", "epoch")}
    shown = ("validation_loss", "log_py", "log_px", "kl_a", "kl_b", "cross_entropy")
    return ", ".join(f"{name} {terms[name]:.4g}" for name in shown if name in terms)
