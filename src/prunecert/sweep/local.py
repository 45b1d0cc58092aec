"""The engine on this machine: long-lived worker processes, each with one thread of torch."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path

from prunecert.sweep.answers import ATTEMPTS, Answer
from prunecert.sweep.config import RunConfig

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def run_local(
    configs: Sequence[RunConfig], root: Path, workers: int | None = None
) -> Generator[Answer, None, None]:
    """The answers of all runs as they come, started in the order given; workers are gone when
    this ends, by whatever way."""
    crew = _Crew(configs, root)
    count = min(workers or cpus(), len(configs))
    threads = [threading.Thread(target=crew.attend, daemon=True) for _ in range(count)]
    try:
        for thread in threads:
            thread.start()
        left = len(configs)
        while left:
            answer = crew.answers.get()
            if isinstance(answer, BaseException):
                raise answer
            left -= answer.kind != "said"
            yield answer
    finally:
        crew.stop()
        for thread in threads:
            thread.join()


def cpus() -> int:
    """Those that this process may use."""
    known = getattr(os, "sched_getaffinity", None)
    return (os.cpu_count() or 1) if known is None else len(known(0))


class _Crew:
    """Threads that each look after one worker process at a time."""

    def __init__(self, configs: Sequence[RunConfig], root: Path) -> None:
        self.configs, self.root = configs, root
        self.waiting = deque(range(len(configs)))
        self.answers: queue.SimpleQueue[Answer | BaseException] = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.processes: set[subprocess.Popen[bytes]] = set()
        self.stopping = False

    def attend(self) -> None:
        """Hand out runs until there are none."""
        try:
            worker = self._hire()
            while worker is not None and (index := self._next()) is not None:
                worker = self._have_done(worker, index)
            if worker is not None:
                self._dismiss(worker)
        except BaseException as error:  # no worker can be started, say
            self.answers.put(error)

    def stop(self) -> None:
        """Kill all workers; no other is started."""
        with self.lock:
            self.stopping = True
            for worker in self.processes:
                worker.kill()

    def _have_done(
        self, worker: subprocess.Popen[bytes], index: int
    ) -> subprocess.Popen[bytes] | None:
        """One run, handed out again where its worker dies; the worker for the next run."""
        code = 0
        for _ in range(ATTEMPTS):
            if (answer := self._ask(worker, index)) is not None:
                self.answers.put(answer)
                return worker
            code = self._dismiss(worker)
            if (other := self._hire()) is None:
                return None
            worker = other
        why = f"its worker died {ATTEMPTS} times ({_ending(code)})"
        self.answers.put(Answer(index, "refused", why))
        return worker

    def _ask(self, worker: subprocess.Popen[bytes], index: int) -> Answer | None:
        """The answer that ends a run; None where the worker died."""
        assert worker.stdin is not None and worker.stdout is not None
        line = json.dumps([index, self.configs[index].canonical()]) + "\n"
        try:
            worker.stdin.write(line.encode())
            worker.stdin.flush()
            for reply in worker.stdout:
                answer = Answer(*json.loads(reply))
                if answer.kind != "said":
                    return answer
                self.answers.put(answer)
        except (BrokenPipeError, ValueError):  # a line cut short
            pass
        return None

    def _next(self) -> int | None:
        with self.lock:
            return self.waiting.popleft() if self.waiting and not self.stopping else None

    def _hire(self) -> subprocess.Popen[bytes] | None:
        """A new worker, in a session of its own: an interrupt at the keyboard is the driver's."""
        with self.lock:
            if self.stopping:
                return None
            worker = subprocess.Popen(
                [sys.executable, "-P", "-m", "prunecert.sweep.worker", str(self.root)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | ONE_THREAD,
                start_new_session=True,
            )
            self.processes.add(worker)
            return worker

    def _dismiss(self, worker: subprocess.Popen[bytes]) -> int:
        worker.kill()
        with self.lock:
            self.processes.discard(worker)
        code = worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            with suppress(OSError):  # what it was still to be told is lost with it
                pipe.close()  # type: ignore[union-attr]
        return code


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}: out of memory?" if -code == signal.SIGKILL else name
