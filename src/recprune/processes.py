"""Processes that work for this one: none of them outlives it, even where it is killed."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.managers import SyncManager
from typing import Any

from recprune.errors import RecpruneError

__all__ = ["follow_parent", "shared_queue", "spawned"]


def follow_parent() -> None:
    """End this process as soon as the one that started it is gone. It is called first in every process that works."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def shared_queue() -> Iterator[Any]:
    """A queue that jobs can be given, in a process of its own."""
    manager = SyncManager(ctx=multiprocessing.get_context("spawn"))
    manager.start(follow_parent)
    try:
        yield manager.Queue()
    finally:
        manager.shutdown()


@contextmanager
def spawned(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes for jobs that are submitted; they are stopped where the block ends by an error.

    Raises RecpruneError where one of them was killed.
    """
    # A process that is stopped in mid-work leaves its semaphores to Python's tracker, which frees them and warns.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=follow_parent) as pool:
        try:
            yield pool
        except BaseException as error:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise RecpruneError(
                    "a process at work was killed, perhaps for want of memory; what is finished is kept"
                ) from None
            raise
