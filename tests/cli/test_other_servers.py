"""`dual-mode publish` and `dual-mode watch` with another server of the Durable Streams protocol."""

import json

import httpx

from .conftest import respond


class AnotherServer:
    """A server of the protocol that has no plain event streams, and cuts its connections.

    `tells` whether what is read is up to date; `longest` is the number of messages in a page.
    """

    messages = ("one", 2, [3], {"four": 4.5})

    def __init__(self, *, tells=True, longest=3) -> None:
        self.tells, self.longest = tells, longest
        self.cut = 0
        self.appended = []

    def __call__(self, connection):
        head, _, body = connection.request.partition("\r\n\r\n")
        method, target, _ = head.split(" ", 2)
        query = httpx.URL(target).params
        done = len(self.messages)
        kind = "Content-Type: application/json"
        if method == "POST":
            self.appended += json.loads(body)
            return respond("200 OK", f"Stream-Next-Offset: {len(self.appended)}")(connection)
        if method == "HEAD":
            return respond("200 OK", kind, f"Stream-Next-Offset: {done}")(connection)
        begin = max(0, int(query.get("offset", -1)))
        if query.get("live") != "sse":
            end = min(begin + self.longest, done)
            body = json.dumps(self.messages[begin:end]).encode()
            ends = ["Stream-Up-To-Date: true"] if end == done and self.tells else []
            return respond("200 OK", kind, f"Stream-Next-Offset: {end}", *ends, body=body)(
                connection
            )
        connection.send()
        if begin == done:
            connection.chunks(b"event: control\ndata: %s\n\n" % self.control(done, closed=True))
            return connection.end()
        data = json.dumps(self.messages[begin : begin + 1]).encode()
        connection.chunks(b"event: data\ndata: %s\n\n" % data)
        self.cut += 1
        if self.cut != 2:  # then the position is not told, and the message comes again
            connection.chunks(b"event: control\ndata: %s\n\n" % self.control(begin + 1))
        if self.cut % 2:
            connection.end()

    @staticmethod
    def control(offset, closed=False):
        return json.dumps({"streamNextOffset": str(offset), "streamClosed": closed}).encode()


def test_another_server_is_read_by_its_offsets(run, scripted):
    server = AnotherServer()
    scripted.answers = [server]
    answer = run("watch", scripted.url)
    assert (answer.code, answer.stderr) == (0, "")
    assert list(map(json.loads, answer.stdout.splitlines())) == list(server.messages)
    assert run("watch", scripted.url, "--once").stdout == answer.stdout
    after = run("watch", scripted.url, "--once", "--after", "3", "--json")
    assert json.loads(after.stdout) == {"id": "4", "data": {"four": 4.5}}
    assert run("watch", scripted.url, "--from", "now").stdout == ""
    assert run("publish", scripted.url, "-", input="1\n[2]\n").stdout == "1\n2\n"
    assert server.appended == [1, [2]]


def test_a_server_that_does_not_tell_what_is_up_to_date(run, scripted):
    scripted.answers = [AnotherServer(tells=False)]
    told = run("watch", scripted.url, "--once").stdout.splitlines()
    assert list(map(json.loads, told)) == list(AnotherServer.messages)


def test_the_messages_of_one_event_each_have_a_position(run, scripted, tmp_path):
    class AllAtOnce(AnotherServer):
        def __call__(self, connection):
            if "live=sse" not in connection.request.partition("\r\n")[0]:
                return super().__call__(connection)
            connection.send()
            data = json.dumps(self.messages).encode()
            connection.chunks(b"event: data\ndata: %s\n\n" % data)
            connection.chunks(b"event: control\ndata: %s\n\n" % self.control(4, closed=True))
            return connection.end()

    scripted.answers = [AllAtOnce()]
    command = ["watch", scripted.url, "--resume", str(tmp_path / "position")]
    told = [run(*command, "--max-events", "1").stdout for _ in range(4)]
    assert list(map(json.loads, told)) == list(AnotherServer.messages)


def test_a_few_at_a_time_move_on(run, channel, tmp_path, scripted):
    run("publish", channel, "-", input="1\n2\n3\n4\n")
    scripted.answers = [AnotherServer(longest=4)]
    for name, url in {"ours": channel, "another": scripted.url}.items():
        kept = run("watch", url, "--once").stdout.splitlines(keepends=True)
        position = ["--resume", str(tmp_path / name)]
        for number in (0, 1):
            answer = run("watch", url, "--once", "--max-events", "1", *position)
            assert (answer.code, answer.stdout) == (0, kept[number]), name
        answer = run("watch", url, "--max-events", "1", *position)  # also by the other way
        assert (answer.code, answer.stdout) == (0, kept[2]), name
        assert run("watch", url, "--once", *position).stdout == kept[3], name
        assert run("watch", url, "--once", *position).stdout == "", name
