"""A Redis behind Sentinel: a master, a replica that can be made to lag, and a failover to it."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from .redis_server import RedisServer

_NEVER = 3_600_000


class Replicated:
    """Real servers on loopback, in a folder. Sentinel acts when the master is killed, and else not.

    A busy machine may keep a master from answering for long.
    """

    def __init__(self, folder: Path) -> None:
        self.master = self._started(folder / "master")
        leader = f"127.0.0.1 {self.master.port}"
        self.replica = self._started(folder / "replica", "--replicaof", leader)
        self._sentinel = RedisServer(folder)  # for its port and its questions
        self.port = self._sentinel.port
        file = folder / "sentinel.conf"
        file.write_text(f"""port {self.port}
bind 127.0.0.1
dir {folder}
logfile sentinel.log
sentinel monitor main {leader} 1
sentinel down-after-milliseconds main {_NEVER}
sentinel failover-timeout main 2000
""")
        program = shutil.which("redis-server")
        assert program is not None  # the master has been started by it
        self.process = subprocess.Popen([program, str(file), "--sentinel"])
        self.url = f"redis+sentinel://127.0.0.1:{self.port}/main/0"
        self._wait_for_replica()

    @staticmethod
    def _started(folder: Path, *flags: str) -> RedisServer:
        folder.mkdir()
        server = RedisServer(folder, *flags)
        server.start()
        return server

    def _wait_for_replica(self) -> None:
        until(lambda: "master_link_status:up" in self.replica.ask("INFO replication"))
        until(lambda: "slaves=1" in self._sentinel.ask("INFO sentinel"))
        until(lambda: "status=ok" in self._sentinel.ask("INFO sentinel"))

    def leader(self) -> int:
        """Return the port of the server that Sentinel names as the master."""
        told = self._sentinel.ask("INFO sentinel").partition("address=127.0.0.1:")[2]
        return int(told.partition(",")[0])

    def let_the_replica_lag(self) -> None:
        """Cut the replica off, so that it gets nothing that is written from now on."""
        self.replica.signal(signal.SIGSTOP)
        self.master.ask("CLIENT KILL TYPE replica")

    def fail(self) -> None:
        """Kill the master, and let the replica run again, which Sentinel makes the master."""
        self.master.kill()
        self.replica.signal(signal.SIGCONT)
        self._sentinel.ask("SENTINEL SET main down-after-milliseconds 500")

    def recover(self) -> None:
        """Wait for the failover, and start the dead master again, as the replica of the new one."""
        until(lambda: "role:master" in self.replica.ask("INFO replication"))
        self._sentinel.ask(f"SENTINEL SET main down-after-milliseconds {_NEVER}")
        self.master, self.replica = self.replica, self.master
        self.replica.flags = ("--replicaof", f"127.0.0.1 {self.master.port}")
        self.replica.start()
        self._wait_for_replica()
        until(lambda: self.leader() == self.master.port)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.master.kill()
        self.replica.kill()


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what no server tells by itself."""
    deadline = time.monotonic() + 60
    while True:
        try:
            if is_so():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)
