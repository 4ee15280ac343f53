"""The state of one request: negotiation and admission of its answer, and what can end it."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection
from starlette.types import Scope

from dual_mode_streaming.errors import NotAcceptable, Problem
from dual_mode_streaming.limits import Admission, TooMany
from dual_mode_streaming.negotiation import Negotiated, ResponseMode, negotiate, parse_flag
from dual_mode_streaming.running.owner import End, Owner
from dual_mode_streaming.web._app_state import AppState
from dual_mode_streaming.web._body import ServerReceive
from dual_mode_streaming.web._cursors import END_ID, cursor_of
from dual_mode_streaming.web._json_size import BODY_VALUES
from dual_mode_streaming.web._observing import Answer, Observers
from dual_mode_streaming.web._options import Options
from dual_mode_streaming.web._problems import problem_of

KEY: Final = "dual_mode"
"""The key of the state in the scope of a request."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What `RequestState.begin` decided about a request.

    Attributes:
        form: the mode and the media type of the answer.
        cursor: the id of the last event that the client has seen; empty if there is none.
        resumes: whether it has a cursor and asks for an event stream.
        head: whether only the headers are requested, so that no generator is needed.
        ended: whether the client sent the id of the end; a 204 stops its EventSource (WHATWG,
            9.2.3).
    """

    form: Negotiated
    cursor: str
    resumes: bool
    head: bool = False
    ended: bool = False


class RequestState:
    """The state of one request and of its answer.

    Attributes:
        negotiated: whether Accept was evaluated, so that the answer varies by it.
        head: whether the request is a HEAD that is routed as a GET.
        receive: the server's `receive`, below the middleware of `install`; None without it.
        status: the status that was sent; 0 before.
    """

    __slots__ = (
        "_apps",
        "_drained",
        "_expiry",
        "_observed",
        "_owner",
        "_tickets",
        "_timer",
        "head",
        "negotiated",
        "receive",
        "status",
    )

    def __init__(self, receive: ServerReceive | None = None) -> None:
        self._apps: tuple[AppState, ...] = ()
        self.receive = receive
        self._owner: Owner | None = None
        self._observed: Answer | None = None
        self._drained = False
        self._expiry: float | None = None
        self._tickets: list[tuple[Admission, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.negotiated = False
        self.head = False
        self.status = 0

    @property
    def defaults(self) -> Options:
        """The options of the app for its endpoints; a mounted app has its own."""
        return self._apps[-1].defaults if self._apps else {}

    @property
    def body_values(self) -> int | None:
        """The most values in a JSON body, of the outermost app; None for no limit."""
        return self._apps[0].body_values if self._apps else BODY_VALUES

    def enter(self, app: AppState) -> None:
        """Note that the request is in an app: the outermost one first, then one mounted in it.

        The options are those of the innermost app. The limits, observers and drains of all count.
        An app counts once, however often the request enters it.
        """
        if app not in self._apps:
            self._apps += (app,)
            self._drained |= app.draining

    @property
    def draining(self) -> bool:
        """Whether the app refused new answers when the request came, or this connection does."""
        return self._drained

    async def begin(
        self, scope: Scope, mode: Negotiated | None = None, stream_flag: str | None = None
    ) -> Begun:
        """Negotiate, and admit the request if it needs a generator.

        Every answer begins here, recorded or not. It may be called twice for one request: the
        second call uses the slot that the first has reserved. `close` or `leave` frees the slot.

        Args:
            scope: the ASGI scope of the request.
            mode: the form of the answer if it is settled already; negotiated by default.
            stream_flag: the query parameter that wins over Accept; None for no flag.

        Raises:
            Problem: 400 for a cursor that is too long, 406 if nothing acceptable is available, 422
                for a wrong stream flag, 429 or 503 if a limit is reached or the server shuts down.
        """
        self.negotiated = True
        form = mode or _negotiated(scope, stream_flag)
        cursor = cursor_of(scope)
        resumes = form.mode is ResponseMode.STREAM and bool(cursor)
        if resumes and END_ID.fullmatch(cursor):
            return Begun(form, cursor, resumes, ended=True)
        if scope["method"] == "HEAD" or self.head:
            return Begun(form, cursor, resumes, head=True)
        await self.admit(scope)
        return Begun(form, cursor, resumes)

    def negotiate(self, scope: Scope) -> Negotiated:
        """Return the form of the answer by Accept alone. Raises Problem, as `begin`."""
        self.negotiated = True
        return _negotiated(scope, None)

    async def admit(self, scope: Scope) -> None:
        """Reserve a slot, which `close` or `leave` frees. Raises TooMany."""
        try:
            if self.draining:
                raise TooMany(503, End.DRAINING.value, "draining")
            for app in self._apps:
                admission = app.admission
                if any(admission is counted for counted, _ in self._tickets):
                    continue
                if (ticket := await admission.enter(scope)) is not None:
                    self._tickets.append((admission, ticket))
        except TooMany as full:
            for app in self._apps:
                app.observers.notify("refused", scope, full.reason)
            raise

    def leave(self) -> None:
        """Free the reserved slots, if there are any."""
        while self._tickets:
            admission, ticket = self._tickets.pop()
            admission.leave(ticket)

    @property
    def observed(self) -> Answer | None:
        """The open answer as the observers see it; None without an app."""
        return self._observed

    def observe(self, mode: ResponseMode, scope: Scope) -> None:
        """Create the `Answer` for the observers, and notify them."""
        if self._apps:
            observers = self._apps[-1].observers
            if len(self._apps) > 1:
                members = dict.fromkeys(one for app in self._apps for one in app.observers.members)
                observers = Observers(members)
            self._observed = Answer(mode, scope, observers)

    def open(self, owner: Owner) -> None:
        """Register the answer as open, so that the app can end it."""
        self._owner = owner
        for app in self._apps:
            app.open_answers.add(owner)
            if self._observed is not None and self._observed.mode is ResponseMode.BATCH:
                app.serving.batches.add(owner)
            elif app.draining:  # the drain began after the request
                asyncio.get_running_loop().call_soon(owner.stop, End.DRAINING)
        if self._expiry is not None:
            loop = asyncio.get_running_loop()
            left = self._expiry - time.time()
            self._timer = loop.call_later(left, owner.stop, End.EXPIRED)

    def close(self, owner: Owner, failure: BaseException | None = None) -> None:
        """Note that the answer has ended: by itself, for its owner's reason, or by `failure`."""
        if self._timer is not None:
            self._timer.cancel()
        for app in self._apps:
            app.open_answers.discard(owner)
            app.serving.batches.discard(owner)
        self._owner = None
        self.leave()
        observed, self._observed = self._observed, None  # it holds the scope, which holds us
        if observed is not None:
            observed.close(owner, self.status, failure)

    def end_at(self, when: float) -> None:
        """End the answer at a Unix time, in seconds, if it is still open then."""
        self._expiry = when if self._expiry is None else min(when, self._expiry)

    def drain(self) -> None:
        """End the answer, or refuse it if it has not begun: the server is shutting down.

        If the app drains or will do so soon, this leaves the end to the app.
        """
        if any(app.leaving for app in self._apps):
            return
        self._drained = True
        if self._owner is not None:
            self._owner.stop(End.DRAINING)


def request_state(scope: Scope) -> RequestState:
    """Return the state that the middleware of `install` added to the scope, or a new one."""
    state = scope.get(KEY)
    return state if isinstance(state, RequestState) else RequestState()


def end_at(request: HTTPConnection, when: float) -> None:
    """End the answer to a request at a Unix time, in seconds: when its credentials expire.

    Call it in the dependency that checks them; the earliest of several times counts. A stream that
    is open then ends with an error of status 401 and without an end id, so that its client
    reconnects. Raises RuntimeError in an app without `install`, where nothing would end it.
    """
    if KEY not in request.scope:
        raise RuntimeError("this app cannot end an answer: call install(app) first")
    request_state(request.scope).end_at(when)


def _negotiated(scope: Scope, stream_flag: str | None) -> Negotiated:
    try:
        stream = None
        if stream_flag is not None and scope.get("query_string"):
            flag = QueryParams(scope["query_string"]).get(stream_flag)
            stream = None if flag is None else parse_flag(flag)
        return negotiate(_accept_of(scope), stream)
    except NotAcceptable as error:
        raise problem_of(error) from None
    except ValueError as error:
        raise Problem(422, str(error)) from None


def _accept_of(scope: Scope) -> str:
    """Return the Accept headers as one."""
    values = [value for name, value in scope.get("headers", ()) if name == b"accept"]
    return b",".join(values).decode("latin-1")
