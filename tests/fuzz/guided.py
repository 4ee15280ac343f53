"""Coverage-guided fuzzing of `targets.py` by atheris, in an environment of its own.

`corpus/NAME.txt` has the inputs that reach different code, each in base64 on a line. What a run
finds beyond them is added if `keep` is set, as long as the file stays small.
"""

import base64
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from tests.conftest import ROOT
from tests.environments import environment

HERE = Path(__file__).parent
LARGEST = 150_000
"""The most bytes of a file of the corpus."""

_LONGEST = 4096
_HANG = 20
_MEMORY = 1024


def corpus_of(target: str) -> list[bytes]:
    """Return the inputs that are kept of a target."""
    file = HERE / "corpus" / f"{target}.txt"
    return [base64.b64decode(line) for line in file.read_text().split()] if file.exists() else []


def guided(
    target: str, seconds: float, seeds: list[bytes], *, keep: bool = False
) -> tuple[int, list[str]]:
    """Fuzz a target. Returns the number of inputs, and what was found."""
    python = environment("fuzz", HERE / "atheris.txt") / "bin" / "python"
    paths = [str(ROOT), str(ROOT / "src"), sysconfig.get_path("purelib")]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    inputs, findings, deadline = 0, [], time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, data in enumerate([*corpus_of(target), *seeds]):
            (corpus / f"seed{number}").write_bytes(data)

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            program = [str(python), "-m", "tests.fuzz.guided", target, *arguments]
            return subprocess.run(
                program, cwd=ROOT, env=variables, capture_output=True, text=True, errors="replace"
            )

        while (left := deadline - time.monotonic()) > 1 and len(findings) < 5:
            flags = [f"-max_total_time={round(left)}", f"-max_len={_LONGEST}"]
            flags += [f"-timeout={_HANG}", f"-rss_limit_mb={_MEMORY}"]
            done = run(str(corpus), *flags, f"-artifact_prefix={folder}/found-")
            counted = re.findall(r"^#(\d+)\t", done.stderr, re.M)
            inputs += int(counted[-1]) if counted else 0
            for found in Path(folder).glob("found-*"):
                _, _, told = (done.stdout + done.stderr).partition(
                    "=== Uncaught Python exception: ==="
                )
                findings.append(f"{found.read_bytes()!r}: {told[:3000] or done.stderr[-2000:]}")
                found.unlink()
            # Its timer may still ring when Python has ended, which is no failure.
            if done.returncode not in (0, -signal.SIGALRM) and not findings:
                findings.append(f"atheris ended with {done.returncode}: {done.stderr[-2000:]}")
        if keep:
            _keep(target, sorted({each.read_bytes() for each in corpus.iterdir()}, key=len))
    return inputs, findings


def _keep(target: str, inputs: list[bytes]) -> None:
    lines, size = [], 0
    for data in inputs:
        lines.append(base64.b64encode(data).decode() + "\n")
        size += len(lines[-1])
        if size > LARGEST:
            break
    (HERE / "corpus").mkdir(exist_ok=True)
    (HERE / "corpus" / f"{target}.txt").write_text("".join(lines))


def main() -> None:
    """Be what atheris runs: `python -m tests.fuzz.guided TARGET CORPUS …`."""
    import atheris

    with atheris.instrument_imports(include=["dual_mode_streaming"], enable_loader_override=False):
        from tests.fuzz.targets import TARGETS
    target, _ = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
