"""Claude Code, the Claude Agent SDK and Codex: unmodified programs with their default settings."""

import json
import os
import subprocess
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.environments import environment

HERE = Path(__file__).parent
NAMES = ("claude-code", "claude-agent-sdk", "codex")
CODEX_READS = "text((await tools.exec_command({{cmd: 'cat {}'}})).output)"


@dataclass
class Agent:
    """An agent in a directory of its own, where it finds `one.txt`, `two.txt` and `red.png`.

    Attributes:
        name: which.
        url: the base URL of the service.
        home: an empty directory for its state.
        model: the model to ask for; its own default if None.
        key: the key that it sends.
    """

    name: str
    url: str
    home: Path
    model: str | None = None
    key: str = "any-key-of-ours"

    def __post_init__(self) -> None:
        self.work = self.home / "work"
        self.work.mkdir()
        (self.work / "one.txt").write_text("the first word is kumquat\n")
        (self.work / "two.txt").write_text("the second word is papaya\n")
        (self.work / "red.png").write_bytes(red_png())

    def call(self, what: str, tools: Sequence[str] = ("exec",)) -> dict[str, Any]:
        """Return the call of the tool with which the agent looks at a file.

        Codex has other tools with models that it does not know.
        """
        path = str(self.work / what)
        if self.name != "codex":
            return {"name": "Read", "arguments": {"file_path": path}}
        if what.endswith(".png"):
            return {"name": "view_image", "arguments": {"path": path}}
        if "exec" in tools:
            return {"name": "exec", "arguments": {"input": CODEX_READS.format(what)}}
        return {"name": "exec_command", "arguments": {"cmd": f"cat {what}"}}

    def command(self, question: str, *, goes_on: bool = False) -> list[str]:
        """Return the command that asks a question, in the same session if it goes on."""
        model = ["--model", self.model] if self.model else []
        if self.name == "claude-agent-sdk":
            program = [str(_python()), str(HERE / "drive_claude-agent-sdk.py"), question]
            return [*program, *model, *(["--continue"] if goes_on else [])]
        modules = environment("agents", HERE / "package.json", HERE / "package-lock.json")
        modules /= "node_modules"
        if self.name == "claude-code":
            program = ["node", str(modules / "@anthropic-ai/claude-code/cli-wrapper.cjs")]
            asking = ["--print", question, "--output-format", "json"]
            return [*program, *asking, *model, *(["--continue"] if goes_on else [])]
        program = ["node", str(modules / "@openai/codex/bin/codex.js"), "exec"]
        base = ["-c", f'openai_base_url="{self.url}/v1"']
        asking = ["resume", "--last", question] if goes_on else [question]
        return [*program, *base, *model, "--skip-git-repo-check", "--json", *asking]

    def variables(self) -> dict[str, str]:
        """Return the environment of the command: nothing but where the service is, and a key."""
        keys = {"ANTHROPIC_API_KEY": self.key, "CODEX_API_KEY": self.key}
        own = {"ANTHROPIC_BASE_URL": self.url, **keys}
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "NO_PROXY": "*", **own}

    def ask(self, question: str, **options: Any) -> str:
        """Return the final answer. Fails if the agent says that something failed."""
        done = subprocess.run(
            self.command(question, **options),
            cwd=self.work,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return self.answer(done.stdout)

    def answer(self, output: str) -> str:
        """Return the final answer in what the program printed."""
        lines = [json.loads(line) for line in output.split("\n") if line.startswith("{")]
        if self.name != "codex":
            assert not lines[-1]["is_error"], lines[-1]
            return str(lines[-1]["result"])
        assert lines[-1]["type"] == "turn.completed", lines
        items = [line["item"] for line in lines if line["type"] == "item.completed"]
        return str([item["text"] for item in items if item["type"] == "agent_message"][-1])


def _python() -> Path:
    home = environment("agents-claude-agent-sdk", HERE / "claude-agent-sdk.txt")
    return home / "bin" / "python"


def red_png() -> bytes:
    """Return an image of 16 by 16 red pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return len(data).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")

    size = (16).to_bytes(4, "big") * 2
    pixels = zlib.compress((b"\0" + b"\xff\0\0" * 16) * 16)
    parts = (chunk(b"IHDR", size + b"\x08\x02\0\0\0"), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
