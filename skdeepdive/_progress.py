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
    terms = [name for name in record if name not in ("phase", "epoch")]
    shown = [name for name in terms if not name.startswith("validation_")]
    return ", ".join(f"{name} {record[name]:.4g}" for name in ("validation_loss", *shown))
