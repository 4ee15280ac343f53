"""The environments of the foreign clients, and what runs their programs there."""

import shutil
from pathlib import Path

from tests.environments import environment

HERE = Path(__file__).parent


def command_of(client: str) -> tuple[list[str], Path]:
    """What runs a client's program, and the directory of its environment."""
    if client == "vercel":
        home = environment(client, HERE / "package.json", HERE / "package-lock.json")
        shutil.copy(HERE / f"ask_{client}.mjs", home)  # node looks for packages above the program
        return ["node", str(home / f"ask_{client}.mjs")], home
    home = environment(client, HERE / f"{client}.txt")
    return [str(home / "bin" / "python"), str(HERE / f"ask_{client}.py")], home
