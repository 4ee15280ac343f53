"""The start of the service: all that can be wrong is found before anything is served."""

import asyncio
import os
import socket
from typing import Final

import uvicorn
from fastapi import FastAPI

from dual_mode_streaming.errors import StoreError
from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings, SettingsError
from dual_mode_streaming.stores import open_store

UNSENT_BYTES: Final = 128 * 1024
"""The number of unsent bytes that the kernel accepts for a connection (TCP_NOTSENT_LOWAT). By
default it accepts megabytes for a client that does not read, which are out of date when it
continues."""


def checked_app(settings: Settings) -> FastAPI:
    """Return the app, after the store of its recordings has been opened and used once.

    Raises:
        SettingsError: the store or the provider of the language models cannot be used.
    """
    try:
        asyncio.run(_use_store(settings))
    except (StoreError, ValueError) as error:
        raise SettingsError(f"the store of recordings cannot be used: {error}") from None
    try:
        return create_app(settings)
    except (ValueError, OSError) as error:
        raise SettingsError(str(error)) from None


async def _use_store(settings: Settings) -> None:
    store = open_store(settings.store, settings.store_limits())
    try:
        if (check := getattr(store, "check", None)) is not None:
            await check()
    finally:
        await store.aclose()


def bound(config: uvicorn.Config) -> socket.socket:
    """Return a listening socket for a server.

    Raises:
        OSError: the address cannot be used. The message is one line that says why.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # connections inherit it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        listener.bind((config.host, config.port))
        listener.listen(config.backlog)
    except OSError as error:
        listener.close()
        reason = error.strerror or os.strerror(error.errno or 0)
        message = f"port {config.port} of the address {config.host} cannot be used: {reason}"
        raise OSError(message) from None
    listener.set_inheritable(True)
    return listener
