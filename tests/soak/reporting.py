"""`dual-mode` that reports on SIGUSR2 what is open in it: `python -m tests.soak.reporting serve …`.

The report is a line of JSON on stdout: the numbers of tasks and of async generators that have not
ended, and of memory blocks that Python's objects have.
"""

import asyncio
import gc
import json
import signal
import sys
import types

from dual_mode_streaming.cli import main


def report(*_: object) -> None:
    """Print the report. Python runs a signal handler in the thread of the event loop."""
    gc.collect()
    generators = [o for o in gc.get_objects() if isinstance(o, types.AsyncGeneratorType)]
    found = {
        "tasks": len(asyncio.all_tasks()),
        "generators": sum(g.ag_frame is not None for g in generators),
        "blocks": sys.getallocatedblocks(),
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, report)
    main()
