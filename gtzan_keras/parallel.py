"""One function for many tasks: on the cores of this machine, or on the cluster that joblib is told to use."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import gtzan_keras
from gtzan_keras.errors import GtzanKerasError

__all__ = ["check_jobs", "cluster", "count_workers", "in_parallel", "on_cluster"]

_PATIENCE = 60  # seconds between checks that the cluster has a worker; two in a row decide


class _NoWorkerError(GtzanKerasError):
    """The cluster has no worker left."""


def check_jobs(jobs: int | None) -> None:
    """Refuse 0 worker processes."""
    if jobs == 0:
        raise GtzanKerasError("jobs=0: expected a number of worker processes, or -1 for one per core")


def in_parallel(
    function: Callable[..., Any],
    tasks: Sequence[Sequence[Any]],
    names: Sequence[str],
    jobs: int | None = None,
    own_process: bool = False,
) -> Iterator[Any]:
    """Yield what a function returns for each task's arguments, in the order of the tasks.

    The calls are made in worker processes on this machine, or on the Dask cluster of `on_cluster` or of
    ``joblib.parallel_config("dask")``. If workers die, the first unfinished call is repeated alone: several
    were running, and the error must name the one that no worker survives.

    Parameters
    ----------
    function : callable
        Of a module, or a `functools.partial` of one.
    tasks : sequence of sequences
        The arguments of each call.
    names : sequence of str
        What the calls are about, one each, for errors.
    jobs : int, optional
        As joblib counts workers: -1 uses one process per core. By default the calls are made in this
        process, unless ``joblib.parallel_config`` says otherwise. A cluster uses all its workers.
    own_process : bool
        On a cluster, make each call in a new process. Keras takes its seeds from Python's random numbers, and
        a worker's other threads draw from these too.

    Raises
    ------
    GtzanKerasError
        `jobs` is 0, no worker survives a call, a worker has another version of this package, or the
        cluster has lost its scheduler or all its workers.

    Examples
    --------
    >>> from gtzan_keras.parallel import in_parallel
    >>> list(in_parallel(divmod, [(7, 2), (9, 4)], ["seven", "nine"], jobs=1))
    [(3, 1), (2, 1)]
    """
    check_jobs(jobs)
    died: tuple[type[Exception], ...] = (BrokenExecutor,)
    client, done = cluster(), 0
    if client is not None:
        from distributed import KilledWorker

        died += (KilledWorker,)
        if own_process:
            function = partial(_in_own_process, function)

    def results(some: Sequence[Sequence[Any]]) -> Iterator[Any]:
        return _by_joblib(function, some, jobs) if client is None else _by_dask(function, some, client)

    while done < len(tasks):
        try:
            for result in results(tasks[done:]):
                done += 1
                yield result
        except died:
            try:
                (result,) = results(tasks[done : done + 1])
            except died as error:
                raise GtzanKerasError(
                    f"{names[done]}: every worker process that handled it died ({type(error).__name__}); "
                    "exclude it, or give the workers more memory"
                ) from error
            except _NoWorkerError as error:  # those that nobody restarts, or that die while they start
                raise GtzanKerasError(
                    f"{names[done]}: its worker processes died, and the cluster has none left; start workers "
                    "and run this again; if they die again, exclude it"
                ) from error
            done += 1
            yield result


def _by_joblib(
    function: Callable[..., Any], tasks: Sequence[Sequence[Any]], jobs: int | None
) -> Iterator[Any]:
    import joblib

    call = joblib.delayed(partial(_in_folder, os.getcwd(), function))
    calls = (call(*task) for task in tasks)
    yield from joblib.Parallel(n_jobs=jobs, return_as="generator", batch_size=1)(calls)


def _in_folder(folder: str, function: Callable[..., Any], *task: Any) -> Any:
    """Call a function where relative paths mean what they mean to the caller.

    joblib reuses worker processes, which are still in the folder of an earlier call.
    """
    os.chdir(folder)
    return function(*task)


def _by_dask(function: Callable[..., Any], tasks: Sequence[Sequence[Any]], client: Any) -> Iterator[Any]:
    """Yield results; at most two per worker thread exist at a time, so that memory stays flat.

    joblib's own Dask backend waits forever for a task whose workers died (seen with joblib 1.6). Dask itself
    waits forever for a worker; it restarts one that died, but not one that dies while it starts. A
    result stays on its worker until it is fetched, and is lost with it.
    """
    to_do, under_way = iter(tasks), deque[Any]()
    try:
        while True:
            for task in islice(to_do, max(0, 2 * count_workers() - len(under_way))):
                under_way.append(client.submit(_call, gtzan_keras.__version__, function, *task, pure=False))
            if not under_way:
                return
            future, fetched, without = under_way.popleft(), False, 0
            while not fetched:
                try:
                    result, fetched = future.result(timeout=_PATIENCE), True
                except TimeoutError as error:
                    if future.status == "error":
                        raise  # the task's own
                    without = 0 if client.nthreads() else without + 1
                    if without == 2:  # at one check they may all be restarting
                        text = "no worker is left in the cluster; start workers and run this again"
                        raise _NoWorkerError(text) from error
            yield result
    except CancelledError as error:
        raise GtzanKerasError(
            f"lost the connection to the cluster's scheduler ({error}); restart it and run this again"
        ) from error


def _call(version: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Do one task on a worker of a cluster; parallel code in the function stays inside the worker."""
    import joblib

    if version != gtzan_keras.__version__:
        raise GtzanKerasError(
            f"a worker of the cluster has gtzan_keras {gtzan_keras.__version__}, this machine {version}; "
            "install the same version on both"
        )
    with joblib.parallel_config("sequential"):
        return function(*arguments)


def _in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a new process, which ends with this one."""
    import cloudpickle

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "call").write_bytes(cloudpickle.dumps((function, arguments)))
        code = "from gtzan_keras.parallel import _answer; _answer()"
        with subprocess.Popen([sys.executable, "-c", code, folder], stdin=subprocess.PIPE) as child:
            child.wait()
        if child.returncode:
            raise BrokenExecutor(f"exit status {child.returncode}")
        result, error = pickle.loads(Path(folder, "result").read_bytes())
    if error is not None:
        raise error
    return result


def _answer() -> None:
    """Make the call of `_in_own_process`; the command line names its folder."""

    def end_with_worker() -> None:
        os.read(0, 1)  # returns when the worker, at the other end, is gone: another one will make this call
        os._exit(1)

    threading.Thread(target=end_with_worker, daemon=True).start()
    result, raised = None, None
    try:
        function, arguments = pickle.loads(Path(sys.argv[1], "call").read_bytes())
        result = function(*arguments)
    except Exception as error:
        raised = error
    Path(sys.argv[1], "result").write_bytes(pickle.dumps((result, raised)))


def count_workers(jobs: int = -1) -> int:
    """Return how many calls run at once: one per thread of a cluster's workers, else as joblib counts jobs.

    Examples
    --------
    >>> from gtzan_keras.parallel import count_workers
    >>> count_workers(2)
    2
    """
    import joblib

    client = cluster()
    if client is None:
        return joblib.effective_n_jobs(jobs)
    return max(1, sum(client.nthreads().values()))  # none while they all restart


def cluster() -> Any:
    """Return the client of the Dask cluster that joblib's active configuration names, or None.

    Examples
    --------
    >>> from gtzan_keras.parallel import cluster
    >>> cluster() is None
    True
    """
    from joblib.parallel import get_active_backend

    return getattr(get_active_backend()[0], "client", None)


@contextmanager
def on_cluster(address: str | None) -> Iterator[None]:
    """Send parallel work to a Dask cluster while the ``with`` block lasts; with None, nothing changes.

    Parameters
    ----------
    address : str, optional
        Of the scheduler, such as ``tcp://10.0.0.1:8786``.

    Raises
    ------
    GtzanKerasError
        Dask is not installed, no scheduler answers there, or it has no worker.

    Examples
    --------
    >>> from gtzan_keras import load_tracks, preprocess
    >>> from gtzan_keras.parallel import on_cluster
    >>> with on_cluster("tcp://10.0.0.1:8786"):  # doctest: +SKIP
    ...     preprocess(load_tracks("data/gtzan"), "gtzan.h5", "zhang-128")
    """
    if address is None:
        yield
        return
    import joblib

    try:
        from distributed import Client
    except ImportError as error:
        raise GtzanKerasError(f"a cluster needs Dask ({error}); pip install dask[distributed]") from error
    try:
        client = Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise GtzanKerasError(
            f"{address}: no Dask scheduler answers ({error}); expected the address that `dask scheduler` "
            "prints, such as tcp://10.0.0.1:8786"
        ) from error
    with client:
        if not client.nthreads():
            raise GtzanKerasError(
                f"{address}: the scheduler has no worker; start some with `dask worker {address}`"
            )
        with joblib.parallel_config("dask", client=client):
            yield
