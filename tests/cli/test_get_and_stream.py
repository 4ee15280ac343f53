"""`dual-mode get` and `dual-mode stream`: what is on stdout, what on stderr, and the exit codes."""

import json
import re
import signal

import pytest

from .conftest import Terminal, started

PROBLEM = b'{"status": 502, "detail": "the source is gone"}'


def frame(number, text=None):
    return b"id: e.1.%d\ndata: %s\n\n" % (number, (text or str(number)).encode())


DONE = b"event: done\nid: e.1.end\ndata: {}\n\n"


def test_get_prints_the_document_as_it_came(run, quick):
    answer = run("get", f"{quick}/data?count=2&interval=0".removeprefix("http://"))
    items = [{"index": n, "message": f"Item {n + 1} of 2"} for n in range(2)]
    assert (answer.code, answer.stderr) == (0, "")
    assert answer.stdout.count("\n") == 1
    assert json.loads(answer.stdout) == {"data": items}


def test_get_posts_what_curl_would(run, quick, tmp_path):
    body = tmp_path / "body.json"
    body.write_text('{"messages": "Hello"}')
    answer = run("get", f"{quick}/chat", "-d", f"@{body}", "--indent")
    assert json.loads(answer.stdout)["type"] == "message_complete"
    assert answer.stdout.count("\n") > 3
    assert run("get", f"{quick}/chat", "-d", "@-", input='{"messages": "Hi"}').code == 0


@pytest.mark.parametrize("body", ["{'messages': 'Hi'}", '{"messages": }', " [1", "{messages: Hi}"])
def test_a_body_that_was_meant_to_be_json(run, quick, body):
    answer = run("get", f"{quick}/chat", "-d", body)
    assert answer.code == 4
    assert "looks like JSON, but is not" in answer.stderr


def test_stream_prints_data_as_it_comes_and_nothing_else(scripted):
    def answer(connection):
        connection.send(b": a comment\n", frame(1, "one"))
        connection.wait_until_gone()

    scripted.answers = [answer]
    command = ["stream", scripted.url, "-H", "X-Key: 1", "-X", "put", "-d", "a=1", "-d", "b=2"]
    with started(*command) as process:
        assert process.stdout.readline() == "one\n"  # and the stream is still open
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert (process.stdout.read(), process.stderr.read()) == ("", "")
    head, _, body = scripted.asked[0].partition("\r\n\r\n")
    assert head.startswith("PUT / HTTP/1.1")
    assert "X-Key: 1" in head
    assert "application/x-www-form-urlencoded" in head
    assert body == "a=1&b=2"


def test_the_forms_of_a_stream(run, quick):
    command = ["stream", f"{quick}/data?count=3&interval=0"]
    forms = ([], ["--json"], ["--raw"], ["--json", "--max-events", "2"])
    told = run.all(*([*command, *form] for form in forms))
    assert [(answer.code, answer.stderr) for answer in told] == [(0, "")] * 4
    plain, objects, raw, two = (answer.stdout for answer in told)
    items = [{"index": n, "message": f"Item {n + 1} of 3"} for n in range(3)]
    assert list(map(json.loads, plain.splitlines())) == items
    events = list(map(json.loads, objects.splitlines()))
    assert [event["data"] for event in events] == items
    assert all(set(event) == {"id", "data"} for event in events)
    assert raw.count("\n\n") == 4
    assert "event: done\n" in raw
    assert [json.loads(line)["data"] for line in two.splitlines()] == items[:2]


def test_nobody_reads_on(quick):
    with started("stream", f"{quick}/data?count=1000000&interval=0") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


def cut(*frames):
    return lambda connection: connection.send(*frames)


def whole(*frames):
    def answer(connection):
        connection.send(*frames)
        connection.end()

    return answer


def status(line, *lines):
    head = "\r\n".join([f"HTTP/1.1 {line}", "Content-Length: 0", "Connection: close", *lines])
    return lambda connection: connection.socket.sendall(f"{head}\r\n\r\n".encode())


def silent(connection):
    connection.send(frame(1))
    connection.wait_until_gone()


ERROR = b"event: error\ndata: " + PROBLEM + b"\n\n"
ENDS = {
    "error": (["stream"], whole(frame(1), ERROR), 6, "the source is gone"),
    "raw error": (["stream", "--raw"], whole(frame(1), ERROR), 6, "the stream failed"),
    "raw cut": (["stream", "--raw"], cut(frame(1)), 6, "broke off"),
    "cut": (["stream", "--attempts", "0"], cut(frame(1)), 6, "broke off"),
    "foreign": (["stream", "--attempts", "0"], whole(b"data: 1\n\n"), 6, "--server"),
    "plain": (["stream", "--server", "plain"], whole(b"data: 1\n\n"), 0, ""),
    "openai": (["stream", "--server", "openai"], whole(b"data: 1\n\ndata: [DONE]\n\n"), 0, ""),
    "cancelled": (["stream"], whole(frame(1), b"event: cancelled\ndata: {}\n\n"), 6, "cancelled"),
    "silence": (["stream", "--timeout", "3", "--attempts", "0"], silent, 3, "broke off"),
    "404": (["get"], status("404 Not Found"), 4, "404"),
    "raw 401": (["stream", "--raw"], status("401 Unauthorized"), 4, "401"),
    "500": (["stream"], status("500 Oh"), 5, "500"),
    "204": (["get"], status("204 No Content"), 0, ""),
    "no JSON": (["get"], status("200 OK", "Content-Type: text/html"), 1, "text/html"),
    "scheme": (["get", "-X", "GET", "ftp://x"], None, 2, "not an HTTP URL"),
    "header": (["get", "-H", "nonsense", "localhost"], None, 2, "nonsense"),
    "no file": (["get", "-d", "@/nowhere", "localhost"], None, 2, "No such file"),
    "option": (["stream", "--nonsense", "localhost"], None, 2, "No such option"),
    "both": (["stream", "--raw", "--json", "localhost"], None, 2, "--raw"),
    "refused": (["get", "http://127.0.0.1:9"], None, 1, "no connection to http://127.0.0.1:9"),
    "unknown host": (["stream", "http://nowhere.invalid"], None, 1, "check host and port"),
    "no stream": (["stream"], status("200 OK", "Content-Type: text/html"), 1, "text/html"),
}


def test_every_end_has_its_exit_code_and_one_line(run, scripted):
    def answer(connection):
        name = connection.request.partition("HTTP")[0].split("/")[1].strip().replace("_", " ")
        ENDS[name][1](connection)

    scripted.answers = [answer]
    commands = []
    for name, (command, end, _, _) in ENDS.items():
        where = [] if end is None else [f"{scripted.url}/{name.replace(' ', '_')}"]
        commands.append([*command, *where])
    told = dict(zip(ENDS, run.all(*commands), strict=True))
    for name, (command, end, code, message) in ENDS.items():
        returned, stdout, stderr = told[name]
        assert returned == code, (name, stderr)
        assert message in stderr, name
        assert bool(stderr) == bool(message), (name, stderr)
        assert "Traceback" not in stderr, name
        if name not in ("foreign", "option"):  # a hint; typer's own words
            assert stderr.count("\n") <= 1, (name, stderr)
        if end is not None and command[0] == "stream" and code not in (1, 4, 5):
            assert stdout.startswith(("1\n", "id: e.1.1\ndata: 1\n\n")), name


def test_a_cut_is_gone_over_without_a_word(run, scripted):
    retry = b"retry: 1\n\n"
    scripted.answers = [cut(retry, frame(1), frame(2)), whole(frame(2), frame(3), DONE)]
    answer = run("stream", scripted.url)
    assert (answer.stdout, answer.stderr, answer.code) == ("1\n2\n3\n", "", 0)
    assert "last-event-id: e.1.2" in scripted.asked[1].lower()


def test_a_reader_that_is_killed_goes_on_where_it_stopped(run, quick, tmp_path):
    place = tmp_path / "place"
    command = ["stream", f"{quick}/chat", "--json", "--resume", str(place)]
    command += ["-d", '{"messages": "Tell me a long story"}']
    with started(*command) as process:
        first = [process.stdout.readline() for _ in range(5)]
        process.kill()
        first += process.stdout.readlines()
    saved = json.loads(place.read_text())
    assert saved["outcome"] is None
    assert saved["location"].startswith(f"{quick}/streams/")
    second = run(*command)
    assert second.code == 0, second.stderr
    before, after = (
        [json.loads(line) for line in lines if line.endswith("}\n")]
        for lines in (first, second.stdout.splitlines(keepends=True))
    )
    numbers = [int(event["id"].rpartition(".")[2]) for event in before + after]
    assert len(numbers) - len(set(numbers)) <= 1  # what it was killed over
    assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))
    assert after[-1]["data"]["type"] == "message_complete"
    third = run(*command)
    assert (third.code, third.stdout) == (0, "")
    assert "read to its end" in third.stderr
    other = run("stream", f"{quick}/data", "--resume", str(place))
    assert (other.code, other.stdout) == (2, "")


def test_a_read_goes_on_after_the_server_has_cut_it(run, scripted, tmp_path):
    place = tmp_path / "place"
    scripted.answers = [cut(frame(1), frame(2)), whole(frame(3), DONE)]
    command = ["stream", scripted.url, "--attempts", "0", "--resume", str(place)]
    first = run(*command)
    second = run(*command, "-H", "Authorization: Bearer secret")
    assert (first.code, first.stdout) == (6, "1\n2\n")
    assert (second.code, second.stdout) == (0, "3\n")
    assert "last-event-id: e.1.2" in scripted.asked[1].lower()
    assert "secret" not in place.read_text()


def test_a_post_that_was_killed_early_is_not_done_twice(run, scripted, tmp_path):
    place = tmp_path / "place"
    scripted.answers = [cut(), whole(frame(1), DONE)]
    command = ["stream", scripted.url, "-X", "POST", "--attempts", "0", "--resume", str(place)]
    assert [run(*command).code for _ in range(2)] == [6, 0]
    keys = {
        line for asked in scripted.asked for line in asked.splitlines() if "Idempotency" in line
    }
    assert len(keys) == 1


def test_what_the_server_cannot_go_on_from_is_told(run, quick, tmp_path):
    place = tmp_path / "place"
    command = ["stream", f"{quick}/data?interval=0", "--resume", str(place)]
    assert run(*command, "--max-events", "1").code == 0
    answer = run(*command)
    assert (answer.code, answer.stdout) == (6, "")
    assert f"remove {place}" in answer.stderr


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"request": 1}', "\udcff"])
def test_a_file_of_something_else_is_left_alone(tmp_path, text):
    from dual_mode_streaming.commands._request_options import request_from
    from dual_mode_streaming.commands._resume_file import ResumeFile

    place = tmp_path / "place"
    place.write_bytes(text.encode("utf-8", "surrogateescape"))
    before = place.read_bytes()
    with pytest.raises(SystemExit, match="2"):
        ResumeFile.load(place, request_from("localhost", None, None, None))
    assert place.read_bytes() == before


@pytest.mark.parametrize("command", ["get", "stream"])
def test_a_terminal_is_told_of_the_next_attempt_in_one_line(scripted, command):
    def end(connection):
        if command == "get":
            body = b'{"data":[]}'
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            )
            connection.socket.sendall(f"{head}\r\n\r\n".encode() + body)
        else:
            whole(DONE)(connection)

    scripted.answers = [status("503 Not yet", "Retry-After: 0"), end]
    with Terminal(command, scripted.url) as terminal:
        terminal.until("dual-mode: ")
        line = terminal.until("\n")
        assert terminal.left() == 0
    assert re.fullmatch(r".*503.*; next attempt in \d+\.\d s, at \d\d:\d\d:\d\d", line), line
    assert "dual-mode:" not in terminal.seen
    assert len(scripted.asked) == 2
