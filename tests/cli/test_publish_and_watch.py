"""`dual-mode publish` and `dual-mode watch`: with our service, and with another server."""

import json
import signal

import httpx
import pytest

from tests.helpers.scripted import socket_server

from .conftest import Terminal, respond, started


def test_what_is_published_is_watched(run, channel):
    one = run("publish", channel.removeprefix("http://"), '{"id": 7, "name": "\u2603"}')
    assert (one.code, one.stderr, one.stdout.count("\n")) == (0, "", 1)
    lines = ["hello", "", "[1,2]", "[]", "12345678901234567890123", '"quoted"', "a, b", "null"]
    many = run("publish", channel, "-", input="\n".join(lines))  # the last has no line end
    assert (many.code, many.stderr) == (0, "")
    assert run("publish", channel, "7", "--text", "--close").code == 0
    cursors = one.stdout.split() + many.stdout.split()
    expected = [{"id": 7, "name": "\u2603"}, "hello", [1, 2], [], 12345678901234567890123]
    expected += ["quoted", "a, b", None, "7"]
    told = run.all(
        *(
            ["watch", channel, *options]
            for options in (
                [],
                ["--once"],
                ["--batch", "--max-events", "2"],
                ["--after", cursors[0]],
                ["--after", cursors[0], "--once"],
                ["--from", "now"],
                ["--from", "start"],
                ["--json", "--max-events", "3"],
            )
        )
    )
    assert [(each.code, each.stderr) for each in told] == [(0, "")] * len(told)
    watched = [[json.loads(line) for line in each.stdout.splitlines()] for each in told]
    objects = watched.pop()
    assert watched == [
        *(expected, expected, expected[:2], expected[1:], expected[1:], [], expected)
    ]
    assert [each["data"] for each in objects] == expected[:3]
    again = run("watch", channel, "--after", objects[1]["id"], "--json", "--max-events", "1")
    assert json.loads(again.stdout) == objects[2]
    again = run("watch", channel, "--after", objects[1]["id"], "--once", "--max-events", "1")
    assert json.loads(again.stdout) == [1, 2]


def test_a_key_adds_each_message_once(run, channel):
    first = run("publish", channel, "-", "--key", "import 7", input="one\ntwo\n")
    second = run("publish", channel, "-", "--key", "import 7", input="one\ntwo\nthree\n")
    assert (first.code, second.code) == (0, 0)
    assert first.stdout.count("\n") == 2
    assert second.stdout.count("\n") == 1
    assert "2 published before" in second.stderr
    run("publish", channel, "three")  # without a key it is another message
    assert run("watch", channel, "--once").stdout == '"one"\n"two"\n"three"\n"three"\n'


def test_lines_are_published_as_they_come_and_seen_at_once(channel):
    with started("publish", channel, stdin=-1) as publisher:
        publisher.stdin.write("first\n")
        publisher.stdin.flush()
        assert publisher.stdout.readline().strip()
        with started("watch", channel) as watcher:
            assert watcher.stdout.readline() == '"first"\n'
            publisher.stdin.write("second\n")
            publisher.stdin.flush()
            assert watcher.stdout.readline() == '"second"\n'
            publisher.stdin.close()
            assert publisher.wait(20) == 0
            httpx.post(channel, headers={"Stream-Closed": "true"}).raise_for_status()
            assert watcher.wait(20) == 0
            assert watcher.stderr.read() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["watch", "publish"])
def test_a_signal_ends_it_without_a_word(run, channel, command, number):
    run("publish", channel, "1")
    with started(command, channel, stdin=-1) as process:
        process.stdin.write("2\n")
        process.stdin.flush()
        assert process.stdout.readline().strip()
        process.send_signal(number)
        assert process.wait(20) == (130 if number == signal.SIGINT else -number)
        assert (process.stdout.read(), process.stderr.read()) == ("", "")


@pytest.mark.parametrize("command", ["watch", "publish"])
def test_nobody_reads_on(run, channel, command):
    run("publish", channel, "-", input="1\n" * 20)
    with started(command, channel, stdin=-1) as process:
        process.stdin.write("2\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        if command == "watch":
            httpx.post(channel, json=["to write what nobody reads"]).raise_for_status()
        process.stdin.write("3\n")
        process.stdin.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_a_reader_that_is_killed_continues_from_its_file(run, channel, tmp_path):
    run("publish", channel, "-", input="1\n2\n3\n")
    command = ["watch", channel, "--resume", str(tmp_path / "position")]
    assert run(*command, "--max-events", "2").stdout == "1\n2\n"
    assert run(*command, "--once").stdout == "3\n"
    run("publish", channel, "4", "--close")
    assert run(*command, "--from", "start").stdout == "4\n"


def test_a_channel_is_closed_after_what_comes_from_a_pipe(run, channel):
    assert run("publish", channel, "--close", input="1\n2\n").stdout.count("\n") == 2
    assert run("watch", channel).stdout == "1\n2\n"
    with Terminal("publish", f"{channel}/other", "--close") as terminal:  # nothing is asked for
        assert terminal.left() == 0
    assert run("watch", f"{channel}/other").stdout == ""


def test_text_channels_and_what_a_terminal_must_not_obey(run, channel):
    httpx.put(channel, headers={"Content-Type": "text/plain; charset=utf-8"}).raise_for_status()
    evil = "\x1b]0;title\x07\x1b[2Jred\x9b31m"
    assert run("publish", channel, evil).code == 0
    assert run("publish", channel, '{"not JSON').code == 0
    assert run("publish", channel, "last", "--close").code == 0
    assert run("watch", channel).stdout == evil + '\n{"not JSON\nlast\n'  # no terminal
    with Terminal("watch", channel) as terminal:
        assert terminal.left() == 0
        assert "\x1b" not in terminal.seen
        assert "\x07" not in terminal.seen
        assert "\x9b" not in terminal.seen
        assert "red" in terminal.seen


def test_mistakes_have_an_exit_code_and_one_line(run, quick, channel):
    run("publish", f"{channel}/closed", "1", "--close")
    cases = {
        "closed": (["publish", f"{channel}/closed", "2"], 4, "409: the channel is closed"),
        "no channel": (["watch", channel], 4, "404: there is no such channel"),
        "JSON": (["publish", channel, '{"id": 7'], 2, "the message is not JSON: "),
        "quote": (["publish", channel, '"7'], 2, "--text"),
        "NaN": (["publish", channel, "[NaN]"], 2, "NaN"),
        "line": (["publish", f"{channel}/x", "-"], 2, "line 2 is not JSON"),
        "UTF-8": (["publish", channel, "\udcff"], 2, "the message is not UTF-8"),
        "empty key": (["publish", channel, "1", "--key", ""], 2, "--key"),
        "key": (["publish", channel, "1", "--key", "a\nb"], 2, "--key"),
        "name": (["publish", f"{quick}/channels/a//b", "1"], 4, "a segment of the name"),
        "no route": (["publish", f"{quick}/data", "1"], 4, "/channels/NAME"),
        "typo": (["publish", f"{quick}/channel/a", "1"], 4, "/channels/NAME"),
        "root": (["publish", quick, "1"], 4, "/channels/NAME"),
        "watch typo": (["watch", f"{quick}/channel/a"], 4, "/channels/NAME"),
        "watch POST": (["watch", f"{quick}/chat"], 4, "/channels/NAME"),
        "both": (["watch", channel, "--after", "x", "--from", "now"], 2, "--from"),
        "after": (["watch", channel, "--after", ""], 2, "not a cursor"),
        "from": (["watch", channel, "--from", "end"], 2, "Invalid value for '--from'"),
        "now": (["watch", f"{quick}/data?count=1", "--from", "now"], 2, "not a channel"),
        "once": (["watch", f"{quick}/data", "--once", "--after", "x"], 1, "not a channel"),
        "document": (["watch", f"{quick}/healthz"], 1, "expected text/event-stream"),
        "offset": (["watch", f"{channel}/closed", "--once", "--after", "x"], 4, "not an offset"),
        "down": (["publish", "http://127.0.0.1:9/channels/a", "1"], 1, "no connection"),
        "scheme": (["watch", "redis://localhost"], 2, "not an HTTP URL"),
    }
    told = run.all(*(command for command, _, _ in cases.values()), input='1\n{"a"\n')
    for (name, (_, code, message)), answer in zip(cases.items(), told, strict=True):
        assert (answer.code, message in answer.stderr) == (code, True), (name, answer)
        assert "Traceback" not in answer.stderr, name
        if name != "from":  # typer's own words
            assert answer.stderr.count("\n") == 1, (name, answer)
    assert run("watch", f"{channel}/x", "--once").stdout == "1\n"  # up to the wrong line


def test_nothing_to_publish_is_told(run, channel):
    answer = run("publish", channel, input="\n\n")
    assert (answer.code, answer.stdout) == (0, "")
    assert "nothing is published" in answer.stderr
    with Terminal("publish", channel) as terminal:
        terminal.until("Ctrl-D ends")
        terminal.type("typed\n\x04")
        assert terminal.left() == 0
    assert run("watch", channel, "--once").stdout == '"typed"\n'


def test_an_endpoint_that_is_no_channel_is_watched_too(run, quick):
    command = ["watch", f"{quick}/data?count=2&interval=0"]
    for options in ([], ["--once"]):
        answer = run(*command, *options)
        assert (answer.code, answer.stderr) == (0, "")
        assert [json.loads(line)["index"] for line in answer.stdout.splitlines()] == [0, 1]


def test_a_cut_and_a_gap(run, scripted):
    def first(connection):
        connection.send(b"retry: 1\n\n", b"id: e.1.1\ndata: 1\n\n")

    def second(connection):
        connection.send(b'event: reset\ndata: {"reason": "trimmed"}\n\n')
        connection.chunks(b"id: e.1.9\ndata: 9\n\n", b"event: done\nid: e.1.10\ndata: {}\n\n")
        connection.end()

    scripted.answers = [first, second]
    answer = run("watch", scripted.url)
    assert (answer.code, answer.stdout) == (0, "1\n9\n")
    assert "messages may be missing" in answer.stderr
    assert "trimmed" in answer.stderr
    assert "last-event-id: e.1.1" in scripted.asked[1].lower()


def test_a_channel_that_was_closed_with_an_error(run, scripted):
    def failing(connection):
        connection.send(b"id: e.1.1\ndata: 1\n\n")
        connection.chunks(b'event: error\ndata: {"status": 500, "detail": "the job failed"}\n\n')
        connection.end()

    scripted.answers = [failing]
    answer = run("watch", scripted.url)
    assert (answer.code, answer.stdout) == (6, "1\n")
    assert "the job failed" in answer.stderr


def test_a_key_goes_to_its_own_origin_only(run, scripted):
    with socket_server() as other:
        other.answers = [respond("404 Not Found")]
        scripted.answers = [respond("307 Temporary Redirect", f"Location: {other.url}/x")]
        secret = ["-H", "Authorization: Bearer secret", "-H", "X-API-Key: secret"]
        for command in (["watch"], ["watch", "--once"], ["publish", "--key", "secret"]):
            name, *options = command
            answer = run(name, scripted.url, *options, *secret, input="1\n")
            assert answer.code in (1, 4), answer
        assert "secret" in "".join(scripted.asked)
        assert other.asked
        assert "secret" not in "".join(other.asked)
        assert not any(asked.startswith("POST") for asked in other.asked)


def test_no_message_has_the_password_of_a_url(run, quick, tmp_path):
    secret = quick.replace("//", "//ada:swordfish@")
    cases = [
        ["watch", f"{secret}/data?token=swordfish", "--from", "now"],
        ["watch", f"{secret}/data?token=swordfish", "--once", "--after", "x"],
        ["watch", "http://ada:swordfish@127.0.0.1:9/x?token=swordfish", "--attempts", "0"],
        ["publish", "redis://ada:swordfish@127.0.0.1:9/x", "1"],
        ["publish", "http://ada:swordfish@[/x", "1"],
        ["get", "ada:swordfish@[/x"],
        ["doctor", "--url", "http://ada:swordfish@127.0.0.1:9/x?token=swordfish"],
        ["doctor", "--url", f"{secret}/healthz?token=swordfish"],
        ["bench", f"{secret}/data?count=1&interval=0", "-c", "1", "--requests", "1", "--json"],
        ["record", "redis://ada:swordfish@127.0.0.1:9/x", str(tmp_path / "script")],
    ]
    for command, answer in zip(cases, run.all(*cases), strict=True):
        assert answer.stdout + answer.stderr, command
        assert "swordfish" not in answer.stdout + answer.stderr, answer
        assert "Traceback" not in answer.stderr, answer
