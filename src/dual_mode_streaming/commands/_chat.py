"""`dual-mode chat`: one question, or a conversation; Ctrl-C stops an answer and keeps it."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from dual_mode_streaming.commands._backends import AnswerFailed, Local, Remote, Speaker
from dual_mode_streaming.commands._errors import Code, fail, manners, note, told, write
from dual_mode_streaming.commands._request_options import Header, asked

__all__ = ["chat"]

HELP = (
    "/new begins anew, /quit or Ctrl-D leaves, Ctrl-C stops an answer (and leaves, at the prompt)"
)


def chat(
    prompt: Annotated[
        str | None,
        typer.Argument(help="The question; - for stdin. Without it: a conversation, or stdin."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="The service to ask; without it, a model in this process answers."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model's name.")] = None,
    system: Annotated[str | None, typer.Option(help="What the model is told beforehand.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer.")] = None,
    seed: Annotated[int | None, typer.Option(help="For the same answer again.")] = None,
    thinking: Annotated[bool, typer.Option("--thinking", help="Show thoughts on stderr.")] = False,
    header: Header = None,
) -> None:
    """Ask a model. The answer comes on stdout, word by word.

    The first Ctrl-C stops the answer and keeps what was said, the second leaves.
    """
    options = {"model": model, "max_tokens": max_tokens, "seed": seed, "thinking": thinking or None}
    with manners():
        if url is None and header:
            fail("-H goes with --url", Code.USAGE)
        if prompt == "-" or (prompt is None and not sys.stdin.isatty()):
            prompt = sys.stdin.read().rstrip("\n")
        if prompt is not None and not prompt.strip():
            fail("there is no question", Code.USAGE)
        given = {name: value for name, value in options.items() if value is not None}
        with asyncio.Runner() as runner, _speaker(runner, url, header) as speaker:
            talk = _Talk(runner, speaker, system, given)
            if prompt is None:
                return _converse(talk)
            try:
                talk.turn(prompt)
            except AnswerFailed as error:
                fail(str(error), error.code)
            if talk.stopped:
                raise SystemExit(int(Code.INTERRUPTED))


@contextlib.contextmanager
def _speaker(
    runner: asyncio.Runner, url: str | None, header: list[str] | None
) -> Iterator[Speaker]:
    try:
        headers = {} if url is None else asked(url, None, None, header).headers
        speaker: Speaker = Local() if url is None else Remote(url, headers)
    except ValueError as error:  # the settings of the models
        fail(str(error), Code.USAGE)
    try:
        yield speaker
    finally:
        runner.run(speaker.aclose())


def _converse(talk: "_Talk") -> None:
    from dual_mode_streaming.commands._errors import code_of

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
            talk.forget()
        elif question.startswith("/"):
            note(HELP)
        elif question:
            try:
                talk.turn(question)
            except AnswerFailed as error:
                note(f"dual-mode: {error}")
            except Exception as error:
                if code_of(error) is None:
                    raise
                note(f"dual-mode: {told(error)}")


def _line(prompt: str) -> str:
    if sys.stdout.isatty():
        return input(prompt)
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return input()


class _Talk:
    """A conversation: what was said, by whom; `stopped` says whether the last answer was."""

    def __init__(
        self, runner: asyncio.Runner, speaker: Speaker, system: str | None, options: dict[str, Any]
    ) -> None:
        self.stopped = False
        self._runner = runner
        self._speaker = speaker
        self._options = options
        self._first = [] if system is None else [{"role": "system", "content": system}]
        self._messages = list(self._first)

    def forget(self) -> None:
        """Begin anew."""
        self._messages = list(self._first)

    def turn(self, question: str) -> None:
        """Ask, and say the answer on stdout; both are kept if there was any."""
        messages = [*self._messages, {"role": "user", "content": question}]
        said: list[str] = []
        self.stopped = False
        answer = self._answer({"messages": messages, **self._options}, said)
        with self._interruptible():
            try:
                self._runner.run(answer)
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None
            finally:
                text = "".join(said)
                if text:
                    self._messages = [*messages, {"role": "assistant", "content": text}]
                    if not text.endswith("\n"):
                        write("\n")
        if self.stopped:
            note("(stopped)")

    async def _answer(self, question: dict[str, Any], said: list[str]) -> None:
        async with contextlib.aclosing(self._speaker.ask(question)) as events:
            async for event in events:
                if thought := event.get("thinking_delta", {}).get("content"):
                    sys.stderr.write(thought)
                    sys.stderr.flush()
                if text := event.get("text_delta", {}).get("content"):
                    said.append(text)
                    write(text)

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first Ctrl-C stops the answer, the second the loop's tasks, a third even a write."""
        loop = self._runner.get_loop()
        stopping: set[asyncio.Task[None]] = set()
        count = 0

        def stop() -> None:
            stopping.add(loop.create_task(self._speaker.stop()))

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
