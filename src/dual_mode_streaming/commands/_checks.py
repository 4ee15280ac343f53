"""The checks of `dual-mode doctor` on this machine: the packages, and what the settings name."""

import os
import re
import socket
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

_PACKAGE = "dual-mode-streaming"
_REQUIREMENT = re.compile(r"([\w.-]+)\s*>=\s*([\d.]+)(.*?)\bextra\s*==\s*['\"]([\w-]+)['\"]")
_PURPOSES = {
    "client": "the clients",
    "cli": "this command line",
    "llm": "language models",
    "openai": "models with OpenAI's wire format",
    "server": "dual-mode serve",
    "redis": "recordings shared by several machines",
}


class CheckResult(NamedTuple):
    """The result of one check.

    Attributes:
        level: "fail" means that something cannot work.
        what: the name of the check.
        said: what was found.
        hint: what to do about it; may be empty.
    """

    level: Literal["ok", "note", "warn", "fail"]
    what: str
    said: str
    hint: str = ""


def installed() -> Iterator[CheckResult]:
    """Check the versions of Python, the package, and the packages of each extra."""
    yield CheckResult("ok", "python", ".".join(map(str, sys.version_info[:3])))
    yield CheckResult("ok", _PACKAGE, metadata.version(_PACKAGE))
    extras: dict[str, list[tuple[str, str]]] = {name: [] for name in _PURPOSES}
    for text in metadata.requires(_PACKAGE) or ():
        match = _REQUIREMENT.match(text)
        if match is None or match[4] not in extras:
            continue
        if "sys_platform != 'win32'" in match[3].replace('"', "'") and sys.platform == "win32":
            continue
        extras[match[4]].append((match[1], match[2]))
    for extra, packages in extras.items():
        if packages:
            yield _extra(extra, packages)


def _extra(extra: str, packages: list[tuple[str, str]]) -> CheckResult:
    present, missing, old = [], [], []
    for name, least in packages:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        present.append(f"{name} {version}")
        if _numbers(version) < _numbers(least):
            old.append(f"{name} {version} is too old: at least {least} is needed")
    install = f"pip install '{_PACKAGE}[{extra}]'"
    if old:
        return CheckResult("fail", f"extra {extra}", "; ".join(old), install)
    if missing:
        said = f"{', '.join(missing)} not installed; needed for {_PURPOSES[extra]}"
        return CheckResult("note", f"extra {extra}", said, install)
    return CheckResult("ok", f"extra {extra}", ", ".join(present))


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, release[0].split("."))) if release else ()


def settings() -> Iterator[CheckResult]:
    """Check the settings of the environment, and that what they name is reachable."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        if os.environ.get(name) or os.environ.get(name.lower()):
            yield CheckResult(
                "note", name, "is set: requests go through a proxy", "NO_PROXY=127.0.0.1"
            )
    try:
        from dual_mode_streaming.llm import provider_by_settings
        from dual_mode_streaming.server.settings import SettingsError, load
    except ImportError as error:
        yield CheckResult("note", "settings", f"not checked: {error}")
        return
    try:
        given = load()
    except SettingsError as error:
        yield CheckResult("fail", "settings", str(error))
        return
    yield CheckResult("ok", "settings", f"{given.host}:{given.port}, {given.workers} worker(s)")
    yield _address(given.host, given.port)
    yield _store(given.store)
    try:
        provider = provider_by_settings(given.llm)
    except (ValueError, OSError) as error:
        yield CheckResult("fail", "language model", str(error))
        return
    yield CheckResult("ok", "language model", f"{provider.name}, {provider.default_model}")
    if given.llm.base_url:
        yield _reachable("language model", given.llm.base_url)


def _address(host: str, port: int) -> CheckResult:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            why = error.strerror or str(error)
            hint = "ignore this if the service runs there already; else choose another --port"
            return CheckResult("warn", f"address {host}:{port}", why, hint)
    return CheckResult("ok", f"address {host}:{port}", "is free")


def _store(address: str) -> CheckResult:
    if address.startswith("sqlite:"):
        path = Path(address.removeprefix("sqlite:"))
        folder = path.parent
        if not folder.is_dir():
            return CheckResult(
                "fail", "store", f"{folder} is not a directory", f"mkdir -p {folder}"
            )
        target = path if path.exists() else folder
        if not os.access(target, os.W_OK):
            return CheckResult("fail", "store", f"{target} cannot be written to")
        return CheckResult("ok", "store", address)
    if address == "memory":
        said = "memory: recordings are lost when the process ends"
        return CheckResult("ok", "store", said)
    if address.startswith("unix:"):
        socket_path = Path(urlsplit(address).path)
        if not socket_path.exists():
            return CheckResult("fail", "store", f"the socket {socket_path} does not exist")
        return CheckResult("ok", "store", f"the socket {socket_path} exists")
    return _reachable("store", address, default_port=6379)


def _reachable(what: str, url: str, default_port: int | None = None) -> CheckResult:
    parts = urlsplit(url)
    port = parts.port or default_port or {"https": 443}.get(parts.scheme, 80)
    where = f"{parts.hostname}:{port}"  # the rest of the URL may hold a password
    try:
        socket.create_connection((parts.hostname or "", port), timeout=3).close()
    except OSError as error:
        return CheckResult("fail", what, f"{where} cannot be reached: {error.strerror or error}")
    return CheckResult("ok", what, f"{where} can be reached")
