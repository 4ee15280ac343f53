"""What `dual-mode doctor` finds out about this machine: packages, settings, what they point at."""

import os
import re
import socket
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

__all__ = ["Finding", "installed", "settings"]

_PACKAGE = "dual-mode-streaming"
_REQUIREMENT = re.compile(r"([\w.-]+)\s*>=\s*([\d.]+)(.*?)\bextra\s*==\s*['\"]([\w-]+)['\"]")
_FOR = {
    "client": "the clients",
    "cli": "this command line",
    "llm": "language models",
    "openai": "models that speak OpenAI's format",
    "server": "dual-mode serve",
    "redis": "recordings that several machines share",
}


class Finding(NamedTuple):
    """One finding. Only a `fail` is one that keeps something from working."""

    level: Literal["ok", "note", "warn", "fail"]
    what: str
    said: str
    hint: str = ""


def installed() -> Iterator[Finding]:
    """Python, the package, and each extra with what of it is there."""
    yield Finding("ok", "python", ".".join(map(str, sys.version_info[:3])))
    yield Finding("ok", _PACKAGE, metadata.version(_PACKAGE))
    extras: dict[str, list[tuple[str, str]]] = {name: [] for name in _FOR}
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


def _extra(extra: str, packages: list[tuple[str, str]]) -> Finding:
    there, missing, old = [], [], []
    for name, least in packages:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        there.append(f"{name} {version}")
        if _numbers(version) < _numbers(least):
            old.append(f"{name} {version} is older than {least}")
    install = f"pip install '{_PACKAGE}[{extra}]'"
    if old:
        return Finding("fail", f"extra {extra}", "; ".join(old), install)
    if missing:
        said = f"without {', '.join(missing)}, for {_FOR[extra]}"
        return Finding("note", f"extra {extra}", said, install)
    return Finding("ok", f"extra {extra}", ", ".join(there))


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, release[0].split("."))) if release else ()


def settings() -> Iterator[Finding]:
    """The settings of the environment, and whether what they name is there."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        if os.environ.get(name) or os.environ.get(name.lower()):
            yield Finding("note", name, "is set: requests go through a proxy", "NO_PROXY=127.0.0.1")
    try:
        from dual_mode_streaming.llm import provider_by_settings
        from dual_mode_streaming.server.settings import SettingsError, load
    except ImportError as error:
        yield Finding("note", "settings", f"not checked: {error}")
        return
    try:
        given = load()
    except SettingsError as error:
        yield Finding("fail", "settings", str(error))
        return
    yield Finding("ok", "settings", f"{given.host}:{given.port}, {given.workers} worker(s)")
    yield _address(given.host, given.port)
    yield _store(given.store)
    try:
        provider = provider_by_settings(given.llm)
    except (ValueError, OSError) as error:
        yield Finding("fail", "language model", str(error))
        return
    yield Finding("ok", "language model", f"{provider.name}, {provider.default_model}")
    if given.llm.base_url:
        yield _reachable("language model", given.llm.base_url)


def _address(host: str, port: int) -> Finding:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            why = error.strerror or str(error)
            hint = "fine if it is this service; else --port"
            return Finding("warn", f"address {host}:{port}", why, hint)
    return Finding("ok", f"address {host}:{port}", "is free")


def _store(address: str) -> Finding:
    if address.startswith("sqlite:"):
        path = Path(address.removeprefix("sqlite:"))
        folder = path.parent
        if not folder.is_dir():
            return Finding("fail", "store", f"{folder} is no directory", f"mkdir -p {folder}")
        target = path if path.exists() else folder
        if not os.access(target, os.W_OK):
            return Finding("fail", "store", f"{target} cannot be written to")
        return Finding("ok", "store", address)
    if address == "memory":
        said = "memory: recordings end with the process"
        return Finding("ok", "store", said)
    if address.startswith("unix:"):
        place = Path(urlsplit(address).path)
        if not place.exists():
            return Finding("fail", "store", f"{place} is not there")
        return Finding("ok", "store", f"{place} is there")
    return _reachable("store", address, default_port=6379)


def _reachable(what: str, url: str, default_port: int | None = None) -> Finding:
    parts = urlsplit(url)
    port = parts.port or default_port or {"https": 443}.get(parts.scheme, 80)
    where = f"{parts.hostname}:{port}"  # the rest may hold a password
    try:
        socket.create_connection((parts.hostname or "", port), timeout=3).close()
    except OSError as error:
        return Finding("fail", what, f"{where} cannot be reached: {error.strerror or error}")
    return Finding("ok", what, f"{where} can be reached")
