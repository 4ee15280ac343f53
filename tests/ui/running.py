"""Run the chat as a process, in the environment that has Streamlit."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections import deque

from tests.conftest import ROOT, not_available

PYTHON = ROOT / ".venv-ui" / "bin" / "python"


def needs_streamlit():
    if not (ROOT / ".venv-ui" / ".set-up").exists():
        not_available("streamlit (make .venv-ui/.set-up)")


@contextlib.contextmanager
def run_chat(*command, fails=False, **variables):
    """Run a Streamlit server and yield its URL. `command` replaces `dual-mode ui`; unless `fails`,
    its output must not contain a traceback."""
    needs_streamlit()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [part.format(port=port) for part in command] or [
        str(PYTHON.with_name("dual-mode")), "ui", "--port", port,
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONWARNINGS": "ignore"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    output = deque(maxlen=500)
    reading = threading.Thread(target=output.extend, args=(process.stdout,))
    reading.start()
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "".join(output)
                assert time.monotonic() < deadline, "the chat did not start"
                time.sleep(0.1)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(15)
        reading.join()
        process.stdout.close()
    assert fails or "Traceback" not in "".join(output), "".join(output)
