"""`dual-mode chat`: one question, or a conversation; Ctrl-C stops an answer and keeps its text."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from dual_mode_streaming.commands._backends import (
    AnswerFailed,
    Backend,
    LocalBackend,
    RemoteBackend,
)
from dual_mode_streaming.commands._errors import (
    ExitCode,
    code_of,
    fail,
    message_of,
    note,
    one_line_errors,
    printable,
    write,
)
from dual_mode_streaming.commands._request_options import Header, request_from

HELP = (
    "/new starts a new conversation, /quit or Ctrl-D exits, "
    "Ctrl-C stops an answer (at the prompt it exits)"
)


def chat(
    prompt: Annotated[
        str | None,
        typer.Argument(help="The question; - reads stdin. Without it: a conversation, or stdin."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="URL of the service; without it a model in this process answers."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Maximum length of the answer.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, to get the same answer again.")] = None,
    thinking: Annotated[
        bool, typer.Option("--thinking", help="Show the reasoning on stderr.")
    ] = False,
    header: Header = None,
) -> None:
    """Ask a language model and print the answer as it comes.

    The first Ctrl-C stops the answer and keeps its text, the second one exits.
    """
    options = {"model": model, "max_tokens": max_tokens, "seed": seed, "thinking": thinking or None}
    with one_line_errors():
        if url is None and header:
            fail("-H needs --url: only a service takes headers", ExitCode.USAGE)
        if prompt == "-" or (prompt is None and not sys.stdin.isatty()):
            prompt = sys.stdin.read().rstrip("\n")
        if prompt is not None and not prompt.strip():
            fail("the question is empty", ExitCode.USAGE)
        given = {name: value for name, value in options.items() if value is not None}
        with asyncio.Runner() as runner, _backend(runner, url, header) as backend:
            conversation = _Conversation(runner, backend, system, given)
            if prompt is None:
                return _converse(conversation)
            try:
                conversation.ask(prompt)
            except AnswerFailed as error:
                fail(str(error), error.code)
            if conversation.stopped:
                raise SystemExit(int(ExitCode.INTERRUPTED))


@contextlib.contextmanager
def _backend(
    runner: asyncio.Runner, url: str | None, header: list[str] | None
) -> Iterator[Backend]:
    backend: Backend
    try:
        if url is None:
            backend = LocalBackend()
        else:
            backend = RemoteBackend(url, request_from(url, None, None, header).headers)
    except ValueError as error:  # the settings of the language model are not valid
        fail(str(error), ExitCode.USAGE)
    try:
        yield backend
    finally:
        runner.run(backend.aclose())


def _converse(conversation: "_Conversation") -> None:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (input() edits lines with it)
    note(HELP)
    while True:
        try:
            question = _line("> ").strip()
        except EOFError:
            note("")
            return
        except KeyboardInterrupt:
            note("")
            raise
        if question == "/quit":
            return
        if question == "/new":
            conversation.forget()
        elif question.startswith("/"):
            note(HELP)
        elif question:
            try:
                conversation.ask(question)
            except AnswerFailed as error:
                note(f"dual-mode: {error}")
            except Exception as error:
                if code_of(error) is None:
                    raise
                note(f"dual-mode: {message_of(error)}")


def _line(prompt: str) -> str:
    if sys.stdout.isatty():
        return input(prompt)
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return input()


class _Conversation:
    """The messages so far; `stopped` says whether the last answer was stopped."""

    def __init__(
        self, runner: asyncio.Runner, backend: Backend, system: str | None, options: dict[str, Any]
    ) -> None:
        self.stopped = False
        self._runner = runner
        self._backend = backend
        self._options = options
        self._first = [] if system is None else [{"role": "system", "content": system}]
        self._messages = list(self._first)

    def forget(self) -> None:
        """Start a new conversation."""
        self._messages = list(self._first)

    def ask(self, question: str) -> None:
        """Print the answer to a question. Both are kept if there was any text."""
        messages = [*self._messages, {"role": "user", "content": question}]
        texts: list[str] = []
        self.stopped = False
        answer = self._answer({"messages": messages, **self._options}, texts)
        with self._interruptible():
            try:
                self._runner.run(answer)
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None
            finally:
                text = "".join(texts)
                if text:
                    self._messages = [*messages, {"role": "assistant", "content": text}]
                    if not text.endswith("\n"):
                        write("\n")
        if self.stopped:
            note("(stopped)")

    async def _answer(self, question: dict[str, Any], texts: list[str]) -> None:
        async with contextlib.aclosing(self._backend.ask(question)) as events:
            async for event in events:
                if thought := event.get("thinking_delta", {}).get("content"):
                    sys.stderr.write(printable(thought, sys.stderr))
                    sys.stderr.flush()
                if text := event.get("text_delta", {}).get("content"):
                    texts.append(text)
                    write(text)

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Stop the answer at the first Ctrl-C, all tasks at the second, a write at the third."""
        loop = self._runner.get_loop()
        stopping: set[asyncio.Task[None]] = set()
        count = 0

        def stop() -> None:
            stopping.add(loop.create_task(self._backend.stop()))

        def leave() -> None:
            for task in asyncio.all_tasks(loop):
                task.cancel()

        def interrupted(*_: object) -> None:
            nonlocal count
            count += 1
            self.stopped = True
            if count > 2:
                raise KeyboardInterrupt
            loop.call_soon_threadsafe(stop if count == 1 else leave)

        before = signal.signal(signal.SIGINT, interrupted)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
