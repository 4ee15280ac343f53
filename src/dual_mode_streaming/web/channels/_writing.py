"""PUT and POST of a channel: create it, append to it, close it."""

import secrets
from urllib.parse import quote

import pydantic
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from dual_mode_streaming.channels._channel import channel_of
from dual_mode_streaming.channels._log import CLOSE, ChannelClosed, ChannelLog, Retention
from dual_mode_streaming.errors import Problem
from dual_mode_streaming.recordings import Cursor, StreamRecord
from dual_mode_streaming.stores import AppendResult, Published, StreamInfo
from dual_mode_streaming.web._problems import CLIENT_GONE
from dual_mode_streaming.web.channels._producers import Duplicate, WriteConditions
from dual_mode_streaming.web.channels._protocol import (
    ChannelConfig,
    headers_at,
    is_made_over_http,
    media_type_of,
    tail_of,
)


async def create(request: Request, log: ChannelLog, owner: str, largest: int) -> Response:
    """Answer a PUT: 201 for a new channel, 200 for one with the same settings."""
    config = ChannelConfig.of_request(request)
    closes = _closes(request)
    body = await _body(request, largest)
    records = _checked(log.name, config, config.records(body) if body else [])
    info, status = await log.info(), 200
    if info is None:
        log.retention = Retention(ttl=config.lifetime())
        new = await log.create(owner=owner, request=config.pack())
        if records or closes:
            await ChannelLog(log.recordings, log.name, Retention()).append(
                records, close=CLOSE if closes else None
            )
        info = await _existing(log)
        if info.generations[0][0] == new.generation:
            status = 201
    found = ChannelConfig.of(info)
    if status == 200 and (not config.matches(found) or closes != (info.state != "running")):
        raise Problem(409, "the channel exists with other settings")
    headers = headers_at(tail_of(info), closed=info.state != "running")
    headers["content-type"] = found.content_type
    if status == 201:
        path = quote(request.scope["path"], safe="/!$&'()*+,;=:@~")  # RFC 3986, section 3.3
        headers["location"] = str(request.url.replace(path=path, query=""))
    return Response(status_code=status, headers=headers)


async def append(request: Request, log: ChannelLog, info: StreamInfo, largest: int) -> Response:
    """Answer a POST: 204 for an append; 200 for one of an idempotent producer, once."""
    if info.new.lifetime is None:
        raise ChannelClosed(log.name, "has one writer")
    config, closes = ChannelConfig.of(info), _closes(request)
    conditions = WriteConditions.of(request)
    body = await _body(request, largest)
    records = []
    if body:
        kind = request.headers.get("content-type", "")
        if not kind:
            raise Problem(400, "the append has no Content-Type")
        if media_type_of(kind) != config.media_type:
            raise Problem(
                409,
                f"the channel was created with the Content-Type {config.content_type:.80}, and "
                f"this is {kind:.80}",
            )
        records = _checked(log.name, config, config.records(body))
    if not records and (body or not closes):
        raise Problem(400, "there is nothing to append, and no Stream-Closed: true")
    channel = channel_of(log.name)
    log.retention = retention_of(info) if channel is None else channel.retention
    headers: dict[str, str] = {}
    try:
        done = await _published(log, records, conditions, close=closes)
        if done.result is AppendResult.CLOSED:
            if not done.generation:
                raise Problem(404, "there is no such channel")
            if records or conditions.producer is not None:
                closed = headers_at(tail_of(await _existing(log)), closed=True)
                raise Problem(409, "the channel is closed", headers=closed)
        headers |= conditions.headers()
        status = 200 if conditions.producer is not None and records else 204
    except Duplicate as duplicate:
        headers |= conditions.headers(duplicate.sequence)
        status, done = 204, None
    if done is not None and records:
        tail = Cursor(log.stream, done.generation, done.sequence - closes)
        return Response(status_code=status, headers=headers_at(tail, closed=closes) | headers)
    after = await _existing(log)
    at = headers_at(tail_of(after), closed=after.state != "running")
    return Response(status_code=status, headers=at | headers)


def retention_of(info: StreamInfo) -> Retention:
    """Return what a use of the channel renews: its TTL, if it has one."""
    config = ChannelConfig.of(info)
    if is_made_over_http(info):
        return Retention(ttl=config.lifetime() if config.ttl is not None else None)
    lifetime = info.new.lifetime
    return Retention(ttl=lifetime if lifetime is not None and lifetime < 3e9 else None)


async def _published(
    log: ChannelLog, records: list[StreamRecord], conditions: WriteConditions, *, close: bool
) -> Published:
    held = conditions.first_guess()
    own = f"k{secrets.token_hex(8)}"  # what the store's client repeats counts once
    while True:
        marks = conditions.marks(held)
        done = await log.append(
            records, close=CLOSE if close else None, marks={**marks, own: (None, "")}
        )
        if done.result is not AppendResult.CONFLICT:
            return done
        if own in done.marks:
            return done._replace(result=AppendResult.OK)
        held = {name: mark.value for name, mark in done.marks.items()}


def _checked(name: str, config: ChannelConfig, records: list[StreamRecord]) -> list[StreamRecord]:
    """Return messages as those of the channel of this process that has the name, if there is one.

    Raises:
        Problem: 409 if they are not JSON, 422 if they are not of its type.
    """
    if (channel := channel_of(name)) is None:
        return records
    if not config.is_json:
        raise Problem(409, f"the messages of this channel are JSON, not {config.content_type:.80}")
    try:
        return [channel.record(channel.codec.parsed(each.data)) for each in records]
    except pydantic.ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        raise Problem(422, "a message is not of the channel's type", errors=errors) from None


async def _existing(log: ChannelLog) -> StreamInfo:
    if (info := await log.info()) is None:
        raise Problem(404, "there is no such channel")
    return info


def _closes(request: Request) -> bool:
    return request.headers.get("stream-closed", "").lower() == "true"


async def _body(request: Request, largest: int) -> bytes:
    """Return the body. Raises Problem: 413 if it is too large, 499 if the client leaves before."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > largest:
                raise Problem(413, f"the body has more than {largest} bytes")
    except ClientDisconnect:
        raise Problem(CLIENT_GONE.status_code, "the client has left") from None
    return bytes(body)
