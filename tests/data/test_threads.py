"""Fits and forecasts of small windows take one thread, and leave every thread count as it was."""

import itertools
import linecache
import sys
import threading

import numpy as np
import pytest
import threadpoolctl
import torch
from joblib import Parallel, cpu_count, delayed, parallel_config
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from threadpoolctl import threadpool_info, threadpool_limits

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive._data import threads
from skdeepdive._data.threads import threads_for
from skdeepdive._estimators import deepdive, fit
from skdeepdive._start import start
from skdeepdive.datasets import load_electricity


def thread_counts():
    """Threads of torch, and of every library of BLAS or OpenMP."""
    pools = {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
    return {"torch": torch.get_num_threads(), **pools}


def make_windows():
    X, y, _ = sliding_windows(load_electricity().data[-400:], 48, 12)
    return X, y


def make_model(**parameters):
    return DeepDIVEForecaster(**{"n_hidden": 16, "max_epochs": 1, "random_state": 0, **parameters})


def counts_around_a_fit(*_):
    before = thread_counts()
    model = make_model().fit(*make_windows())
    after_fit = thread_counts()
    model.predict(make_windows()[0])
    return before, after_fit, thread_counts()


@pytest.fixture
def several():
    """Three threads for everything, also where the environment says one."""
    before = torch.get_num_threads()
    with threadpool_limits(3):
        torch.set_num_threads(3)
        yield thread_counts()
        torch.set_num_threads(before)


def test_fit_and_predict_leave_the_threads_as_they_were(several):
    assert set(several.values()) == {3}
    assert counts_around_a_fit() == (several, several, several)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_grid_search_leaves_the_threads_as_they_were(several, n_jobs):
    search = GridSearchCV(
        make_model(),
        {"n_conditional": [2, 4]},
        cv=TimeSeriesSplit(2, gap=11),
        n_jobs=n_jobs,
        error_score="raise",
    )
    search.fit(*make_windows())
    assert thread_counts() == several


def test_a_fit_that_fails_leaves_the_threads_as_they_were(several, monkeypatch):
    def fail(*args, **options):
        raise MemoryError("no more")

    monkeypatch.setattr(deepdive, "fit_deepdive", fail)
    with pytest.raises(MemoryError):
        make_model().fit(*make_windows())
    assert thread_counts() == several


STAGES = [(fit, "discover_clusters"), (start, "fit_linear_forecast"), (fit, "train")]


def watch(monkeypatch, stage):
    """Return the list that the threads are put into whenever that part of a fit begins."""
    room, name = stage
    seen, original = [], getattr(room, name)

    def watched(*args, **options):
        seen.append(thread_counts())
        return original(*args, **options)

    monkeypatch.setattr(room, name, watched)
    return seen


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage[1])
def test_no_stage_of_a_small_fit_takes_more_than_one_thread(monkeypatch, stage):
    seen = watch(monkeypatch, stage)
    make_model().fit(*make_windows())
    assert seen
    assert {n for counts in seen for n in counts.values()} == {1}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage[1])
def test_a_fit_of_many_values_keeps_the_threads_that_are_set(several, monkeypatch, stage):
    seen = watch(monkeypatch, stage)
    monkeypatch.setattr(threads, "_VALUES_FOR_THREADS", 1)
    make_model().fit(*make_windows())
    assert seen
    assert all(counts == several for counts in seen)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_workers_of_joblib_keep_the_threads_they_were_given(n_threads):
    with parallel_config("loky", n_jobs=2, inner_max_num_threads=n_threads):
        counts = Parallel()(delayed(counts_around_a_fit)(k) for k in range(2))
    for before, after_fit, after in counts:
        assert set(before.values()) == {n_threads}
        assert before == after_fit == after


def test_workers_of_joblib_share_the_cores():
    counts = Parallel(n_jobs=2)(delayed(thread_counts)() for _ in range(2))
    most = max(1, cpu_count() // 2)
    assert all(n <= most for before in counts for n in before.values())


def test_fits_that_overlap_leave_the_threads_as_they_were(several):
    inside, leave = threading.Event(), threading.Event()

    def first():
        with threads_for(1):
            inside.set()
            leave.wait()

    def second():
        with threads_for(1):
            leave.set()
            one.join()

    one, two = threading.Thread(target=first), threading.Thread(target=second)
    one.start()
    inside.wait()
    two.start()
    two.join()
    counts = []
    fresh = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
    fresh.start()
    fresh.join()
    assert counts == [3]
    assert thread_counts() == several


def test_the_number_of_threads_does_not_change_the_model(several):
    X, y = make_windows()
    forecast = make_model().fit(X, y).predict(X)
    with threadpool_limits(1):
        torch.set_num_threads(1)
        np.testing.assert_array_equal(make_model().fit(X, y).predict(X), forecast)
        torch.set_num_threads(several["torch"])


# Interrupts


def interrupt_at(n, action):
    """Press Ctrl-C in the nth line of the cap; return whether the action was long enough."""
    lines = itertools.count()

    def watch(frame, event, argument):
        path = frame.f_code.co_filename
        if path not in (threads.__file__, threadpoolctl.__file__):
            return None
        # Python looks for no signals there before a block begins, or a lock is released.
        is_block = linecache.getline(path, frame.f_lineno).lstrip().startswith(("with ", "try:"))
        if event == "line" and not is_block and next(lines) == n:
            raise KeyboardInterrupt
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def cap_and_lift():
    with threads_for(1):
        pass


def test_an_interrupt_in_any_line_leaves_the_threads_as_they_were(several):
    cap_and_lift()
    lines = 0
    while interrupt_at(lines, cap_and_lift):
        assert thread_counts() == several, lines
        lines += 1
    assert lines > 50


def test_a_cap_whose_end_never_began_is_lifted_with_the_next(several):
    threads_for(1).__enter__()
    assert set(thread_counts().values()) == {1}
    cap_and_lift()
    assert thread_counts() == several


def test_a_cap_may_be_lifted_while_another_is_put_on(several, monkeypatch):
    def holder():
        with threads_for(1):
            yield

    def both():
        torch.get_num_threads()  # torch sets those of a new thread when it is first asked
        counts.append(thread_counts())
        orphan, original = holder(), torch.set_num_threads
        next(orphan)

        def collect(n):
            monkeypatch.setattr(torch, "set_num_threads", original)
            orphan.close()  # as Python does wherever it collects garbage
            original(n)

        monkeypatch.setattr(torch, "set_num_threads", collect)
        with threads_for(1):
            assert torch.set_num_threads is original
        counts.append(thread_counts())

    counts = []
    thread = threading.Thread(target=both, daemon=True)
    thread.start()
    thread.join(30)
    before, after = counts
    assert before == after
    assert thread_counts() == several
