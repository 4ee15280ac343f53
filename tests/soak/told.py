"""`dual-mode`, which tells on SIGUSR2 what is open in it: `python -m tests.soak.told serve …`.

A line of JSON on stdout: tasks and async generators that have not ended, and how many blocks of
memory Python's objects have.
"""

import asyncio
import gc
import json
import signal
import sys
import types

from dual_mode_streaming.cli import main


def tell(*_: object) -> None:
    """Print it. Python runs the handler of a signal within the event loop's own thread."""
    gc.collect()
    generators = [o for o in gc.get_objects() if isinstance(o, types.AsyncGeneratorType)]
    told = {
        "tasks": len(asyncio.all_tasks()),
        "generators": sum(g.ag_frame is not None for g in generators),
        "blocks": sys.getallocatedblocks(),
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, tell)
    main()
