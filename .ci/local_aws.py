"""Starts servers for the checks of .ci: above all a local AWS (ministack)."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

# Seconds that a server may take to start.
START_S = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def server(command, port, log, **options):
    """A server in a session of its own, from when it listens; the whole session ends with it."""
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, **options
        )
    try:
        until = time.monotonic() + START_S
        while not listens(port):
            if time.monotonic() > until or process.poll() is not None:
                sys.exit(f"{command[0]} does not listen\n{Path(log).read_text()}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def ministack(scratch):
    """A local AWS; its address."""
    port = free_port()
    home = scratch / "ministack"
    home.mkdir()
    # Functions get the environment of ministack.
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
    }
    with server([os.environ["MINISTACK"]], port, scratch / "ministack.log", cwd=home, env=environment):
        yield f"http://127.0.0.1:{port}"


def now_ms():
    return int(time.time() * 1000)
