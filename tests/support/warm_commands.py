"""``gateway …`` without the second in which it is loaded: a process that has it loaded forks for each command.

A command gets an environment, a standard input and an exit of its own, as from a shell. Each line on standard input
asks for one, in JSON, and is answered by one line.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import IO, Any

_TIMEOUT_SECONDS = 60


class WarmCommands:
    """Starts with the first command and ends with the process that asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.warm_commands"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        )
        atexit.register(self._process.kill)

    def run(
        self, arguments: tuple[str, ...], stdin: str, environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        asked = {"arguments": arguments, "stdin": stdin, "environment": environment, "cwd": os.getcwd()}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            told = json.loads(self._process.stdout.readline())
        return subprocess.CompletedProcess(list(arguments), told["code"], told["stdout"], told["stderr"])


@cache
def warm_commands() -> WarmCommands:
    return WarmCommands()


def _serve() -> None:
    import gateway.cli
    import gateway.services
    import gateway.store.partners  # loaded for all of them

    for line in sys.stdin:
        asked = json.loads(line)
        with ExitStack() as files:
            given, out, errors = (files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3))
            given.write(asked["stdin"])
            given.seek(0)
            child = os.fork()
            if child == 0:
                _run(gateway.cli.main, asked, given, out, errors)
            _, status = os.waitpid(child, 0)
            told = {"code": os.waitstatus_to_exitcode(status), "stdout": _all(out), "stderr": _all(errors)}
        print(json.dumps(told), flush=True)


def _run(main: Any, asked: dict[str, Any], given: IO[str], out: IO[str], errors: IO[str]) -> None:
    """In the child; does not return."""
    import signal
    import traceback

    for number, file in enumerate((given, out, errors)):
        os.dup2(file.fileno(), number)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    sys.argv = ["gateway", *asked["arguments"]]
    signal.alarm(_TIMEOUT_SECONDS)
    sys.stdin, sys.stdout = os.fdopen(0, "r"), os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w")
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  # as the interpreter does
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _all(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


if __name__ == "__main__":
    _serve()
