"""A worker process of a sweep: a configuration comes in as a line, answers go out as lines.

It dies at once when its input ends, which the system sees to however its driver ends.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from functools import partial
from pathlib import Path


def main(root: Path) -> None:
    """Answer every line of standard input; what runs print goes to standard error."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch

    from prunecert.sweep.answers import attempt
    from prunecert.sweep.config import config_of

    torch.set_num_threads(1)

    def send(index: int, kind: str, content: object) -> None:
        answers.write(json.dumps([index, kind, content]) + "\n")
        answers.flush()

    while True:
        index, config = json.loads(lines.get())
        said = partial(send, index, "said")
        answer = attempt(index, config_of(json.loads(config)), root, said)
        send(index, answer.kind, answer.content)


def _listen(lines: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
