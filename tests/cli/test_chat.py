"""`dual-mode chat`: a question, a conversation, and Ctrl-C."""

import json
import signal
import threading

import pytest

from tests.helpers.scripted import HEAD

from .conftest import PLAIN, Terminal, started

RECORDED = HEAD.replace(b"\r\n\r\n", b"\r\nLocation: /streams/s\r\n\r\n")
SLOW = {"DUAL_MODE_LLM_RATE": "20"}


def word(number, text):
    event = {"type": "text_delta", "text_delta": {"content": text}}
    return b"id: s.1.%d\ndata: %s\n\n" % (number, json.dumps(event).encode())


DONE = b"event: done\ndata: {}\n\n"


@pytest.mark.parametrize("where", ["here", "there"])
def test_one_question(run, quick, where):
    place = [] if where == "here" else ["--url", quick]
    asked, piped = (
        run("chat", *place, "--seed", "1", "Hello"),
        run("chat", *place, "--seed", "1", input="Hello\n"),
    )
    assert asked.stdout.startswith("You said: Hello\n")
    assert asked.stdout.endswith(".\n")
    assert asked == piped == (0, asked.stdout, "")


def test_what_cannot_be_asked(run, quick):
    nothing, key, way = run.all(
        ["chat", " "],
        ["chat", "-H", "X: 1", "Hello"],
        ["chat", "--url", f"{quick}/none", "Hello"],
    )
    assert (nothing.code, key.code, way.code) == (2, 2, 4)
    assert way.stderr.startswith("dual-mode: the server answered 404")


class Recording:
    """A server that records one answer, and ends it when it is cancelled."""

    def __init__(self, *, cancels: bool = True) -> None:
        self.cancels = cancels
        self.asked = threading.Event()
        self.cancelled = threading.Event()
        self.bodies: list[dict] = []

    def __call__(self, connection):
        head, _, body = connection.request.partition("\r\n\r\n")
        if head.startswith("POST /streams/s/cancel "):
            self.asked.set()
            if not self.cancels:
                return connection.wait_until_gone()
            answer = (
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
            )
            connection.socket.sendall(answer)
            return self.cancelled.set()
        self.bodies.append(json.loads(body))
        if len(self.bodies) > 1:
            return connection.send(word(9, "Yes."), DONE, head=RECORDED)
        connection.send(word(1, "It"), word(2, " is"), head=RECORDED)
        assert self.cancelled.wait(60) or not self.cancels
        connection.chunks(word(3, " so"), b"event: cancelled\ndata: {}\n\n")


def test_ctrl_c_cancels_at_the_service_and_keeps_what_was_said(scripted):
    recording = Recording()
    scripted.answers = [recording]
    with started("chat", "--url", scripted.url, "Why?") as process:
        assert process.stdout.read(5) == "It is"
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, " so\n", "(stopped)\n")
    assert recording.asked.is_set()


def test_the_service_has_stopped(start_service):
    """The model of the service was stopped, and not only left alone."""
    import httpx

    running = start_service("--log-level", "error", **SLOW)
    with started("chat", "--url", running.url, "Why?") as process:
        assert process.stdout.read(3) == "You"
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 130
    text = httpx.get(f"{running.url}/metrics").text
    assert 'dual_mode_llm_calls_total{model="simulator",outcome="abandoned"' in text
    assert said.strip() in "You said: Why?"


def test_a_second_ctrl_c_leaves_at_once(scripted):
    recording = Recording(cancels=False)
    scripted.answers = [recording]
    with started("chat", "--url", scripted.url, "Why?") as process:
        assert process.stdout.read(5) == "It is"
        process.send_signal(signal.SIGINT)
        assert recording.asked.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        recording.cancelled.set()
        assert process.stderr.read() == ""


def test_a_stopped_answer_is_part_of_the_conversation(scripted):
    recording = Recording()
    scripted.answers = [recording]
    with Terminal("chat", "--url", scripted.url, "--system", "Be brief.") as terminal:
        terminal.until("> ")
        terminal.type("Why?\n")
        terminal.until("It is")
        terminal.type("\x03")
        assert terminal.until("(stopped)\n").strip() in ("so", "^C so")
        terminal.until("> ")
        terminal.type("Really?\n")
        terminal.until("Yes.\n")
        terminal.until("> ")
        assert terminal.leave() == 130
    said = [(each["role"], each["content"]) for each in recording.bodies[1]["messages"]]
    first = [("system", "Be brief."), ("user", "Why?")]
    assert said == [*first, ("assistant", "It is so"), ("user", "Really?")]
    assert "Traceback" not in terminal.seen


def test_a_conversation_with_the_model_in_this_process():
    with Terminal("chat", **SLOW) as terminal:
        terminal.until("> ")
        terminal.type("Why?\n")
        terminal.until("You said")
        terminal.type("\x03")
        terminal.until("(stopped)\n")
        terminal.until("> ")
        terminal.type("/nonsense\n")
        terminal.until("/new starts a new conversation")
        terminal.until("> ")
        terminal.type("/new\n")
        terminal.until("> ")
        terminal.type("\x04")
        assert terminal.left() == 0


def test_a_failure_ends_a_question_and_not_a_conversation(scripted):
    problem = b'event: error\ndata: {"status": 529, "detail": "no more \\u001b[31m today"}\n\n'
    scripted.answers = [
        lambda connection: connection.send(word(1, "It"), problem, head=RECORDED),
        Recording(),
    ]
    with started("chat", "--url", scripted.url, "Why?", env=PLAIN) as process:
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (6, "It\n")
    assert "no more" in stderr
    scripted.answers.insert(0, lambda connection: connection.send(problem, head=RECORDED))
    with Terminal("chat", "--url", scripted.url) as terminal:
        terminal.until("> ")
        terminal.type("Why?\n")
        assert "\x1b" not in terminal.until("today").partition("dual-mode: ")[2]
        terminal.until("> ")
        terminal.type("/quit\n")
        assert terminal.left() == 0


def test_a_terminal_gets_no_control_character_of_a_server(scripted):
    bad = "\x1b]52;c;aGk=\x07\x1b]0;title\x07\x9b2J"
    thought = {"type": "thinking_delta", "thinking_delta": {"content": f"mused{bad}"}}

    def answer(connection):
        frame = b"id: s.1.1\ndata: %s\n\n" % json.dumps(thought).encode()
        connection.send(frame, word(2, f"Said{bad}"), DONE, head=RECORDED)

    raw = b": x\x1b]0;title\x07\xc2\x9b2J\n\n"
    scripted.answers = [
        answer,
        lambda connection: connection.send(raw, word(1, "a"), DONE, head=RECORDED),
    ]
    with Terminal("chat", "--thinking", "--url", scripted.url, "Why?") as terminal:
        shown = terminal.until("Said") + terminal.until("J")
        assert "mused" in shown
        assert not {"\x1b", "\x07", "\x9b"} & {*shown}
    with Terminal("stream", "--raw", scripted.url) as terminal:
        shown = terminal.until("done")
        assert not {"\x1b", "\x07", "\x9b"} & {*shown}
