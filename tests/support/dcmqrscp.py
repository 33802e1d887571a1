"""dcmtk's archive on a free loopback port: C-FIND, C-MOVE and C-GET of what storescu brought it."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.gateway_process import free_port

AE_TITLE = "QRSCP"
_CONFIGURATION = """
NetworkTCPPort  = {port}
MaxPDUSize      = 16384
MaxAssociations = 16
HostTable BEGIN
gateway = ({destination}, 127.0.0.1, {gateway_port})
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
{title} {folder} RW (1000, 1024mb) ANY
AETable END
"""


class Dcmqrscp:
    """A context manager. C-MOVE goes to ``destination`` at ``gateway_port`` only; ``options`` are dcmqrscp's."""

    def __init__(self, gateway_port: int, *options: str, destination: str = "SECONDOPINION") -> None:
        self._options = options
        self.ae_title, self.port = AE_TITLE, free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="gateway-qrscp-"))
        storage = self._folder / AE_TITLE
        storage.mkdir()
        self._configuration = self._folder / "dcmqrscp.cfg"
        self._configuration.write_text(
            _CONFIGURATION.format(
                port=self.port,
                gateway_port=gateway_port,
                destination=destination,
                title=AE_TITLE,
                folder=storage,
            )
        )
        self._log = self._folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_text(self) -> str:
        return self._log.read_text(errors="replace")

    def store(self, *files: bytes) -> None:
        names = []
        for number, file in enumerate(files):
            names.append(self._folder / f"{number}.dcm")
            names[-1].write_bytes(file)
        address = ("-aec", AE_TITLE, "127.0.0.1", str(self.port))
        done = subprocess.run(
            ["storescu", "-R", *address, *map(str, names)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            command = ["dcmqrscp", "-v", *self._options, "-c", str(self._configuration)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while subprocess.run(
            ["echoscu", "-aec", AE_TITLE, "127.0.0.1", str(self.port)], capture_output=True, timeout=20
        ).returncode:
            assert time.monotonic() < deadline, self.log_text
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
