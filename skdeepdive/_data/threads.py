"""A cap on threads for small steps."""

import threading
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, ClassVar
from weakref import ref

import torch
from threadpoolctl import ThreadpoolController

# Fewest values in a batch of windows that keep the threads that are set.
_VALUES_FOR_THREADS = 2**21


def threads_for(n_values: int) -> AbstractContextManager:
    """Limit steps on few values to one thread: threading overhead exceeds the gain for them.

    Steps on many values keep the threads that are set.
    """
    return nullcontext() if n_values >= _VALUES_FOR_THREADS else _OneThread()


class _OneThread:
    """A cap on the threads of torch, BLAS and OpenMP, which an interrupt lifts as well.

    The lock is one that its owner may take again: a generator that an interrupt has orphaned in
    here is closed as soon as Python collects garbage, be it while another cap is put on.
    """

    _lock = threading.RLock()
    _inside: ClassVar[set[ref]] = set()  # weakly, as the end of an orphan may never begin
    _before: ClassVar[tuple[int, Any] | None] = None  # threads of torch, of all libraries

    def __init__(self) -> None:
        self._own: tuple[Any, int] | None = None

    def __enter__(self) -> None:
        try:
            self._put_on()
        except BaseException:
            self._lift()
            raise

    def __exit__(self, *error: object) -> None:
        try:
            self._lift()
        except KeyboardInterrupt:
            self._lift()
            raise

    def _put_on(self) -> None:
        with self._lock:
            self._restore_if_empty()
            self._inside.add(ref(self))
            before = self._before or (torch.get_num_threads(), _controller().limit(limits=None))
            _OneThread._before = before
            # A thread that comes while others are capped has inherited their cap of torch.
            self._own = _controller().select(user_api="openmp").limit(limits=None), before[0]
            self._own[0].__enter__()
            torch.set_num_threads(1)
            _controller().limit(limits=1)  # that of BLAS is one for all threads

    def _lift(self) -> None:
        with self._lock:
            self._inside.discard(ref(self))
            self._restore_if_empty()
            if self._own is not None:
                openmp, n_threads = self._own
                openmp.__exit__(None, None, None)
                torch.set_num_threads(n_threads)

    def _restore_if_empty(self) -> None:
        if self._before is not None and all(inside() is None for inside in self._inside):
            n_threads, libraries = self._before
            libraries.restore_original_limits()
            torch.set_num_threads(n_threads)
            self._inside.clear()
            _OneThread._before = None


@cache
def _controller() -> ThreadpoolController:
    """Find the libraries that have threads; to look for them takes milliseconds."""
    return ThreadpoolController()
