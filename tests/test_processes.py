"""No process at work outlives the one that started it, and one that is killed is one line."""

import os
import signal
import subprocess
import sys
import time

import pytest

from recprune.errors import RecpruneError
from recprune.processes import spawned

PARENT = """
import os, time
from recprune.processes import shared_queue, spawned
from tests.test_processes import tell

if __name__ == "__main__":
    with shared_queue() as queue, spawned(2) as pool:
        jobs = [pool.submit(tell, queue) for _ in range(2)]
        print(os.getpid(), *{queue.get() for _ in jobs}, flush=True)
        time.sleep(60)
"""


def tell(queue):
    queue.put(os.getpid())
    time.sleep(60)


def end():
    os.kill(os.getpid(), signal.SIGKILL)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as listed:
        return [int(child) for child in listed.read().split()]


def test_no_worker_outlives_a_parent_that_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE, text=True)
    told = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(told) >= 3
    workers = children(parent.pid)
    assert set(told[1:3]) <= set(workers)
    assert len(workers) >= 4  # two workers, the queue, and Python's tracker of semaphores
    parent.kill()
    parent.wait()
    parent.stdout.close()
    stop = time.monotonic() + 20
    while any(alive(pid) for pid in workers) and time.monotonic() < stop:
        time.sleep(0.05)
    assert not [pid for pid in workers if alive(pid)]


def test_a_worker_that_is_killed_is_one_line():
    with pytest.raises(RecpruneError, match=r"^a process at work was killed"), spawned(1) as pool:
        pool.submit(end).result()
