"""A real Orthanc on free loopback ports, with a storage folder of its own: as server and as client of the gateway."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.support.gateway_process import free_port

READY_SECONDS = 30
STOP_SECONDS = 30
TIMEOUT_SECONDS = 120
_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def server_program() -> str | None:
    """The path of Orthanc; None where it or its DICOMweb plugin is not installed."""
    found = shutil.which("Orthanc", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    return found if _PLUGIN.exists() else None


class Orthanc:
    """A context manager: started and ready inside, stopped after. May be started again on the same storage.

    Every AE may echo, store, find and get; it may have moved to AEs that are registered (``add_modality``). HTTP is
    open, unless ``user`` (name and password) is given. ``settings`` are those of Orthanc's configuration file, over
    the ones written here.
    """

    def __init__(
        self,
        program: str,
        *,
        ae_title: str = "ORTHANC",
        user: tuple[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.ae_title = ae_title
        self.http_port = free_port()
        self.dicom_port = free_port()
        self._program = program
        self._environment = {**os.environ, "TCP_NODELAY": "1"} | dict(environment or {})
        self._folder = Path(tempfile.mkdtemp(prefix="gateway-orthanc-"))
        self._log = self._folder / "orthanc.log"
        self._http = requests.Session()
        self._http.auth = user
        self._settings = _configuration(self, self._folder, user) | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        return f"{self.url}/dicom-web"

    @property
    def wado_uri(self) -> str:
        """The address of its WADO-URI service."""
        return f"{self.url}/wado"

    @property
    def pid(self) -> int:
        assert self._process is not None, "Orthanc is not started"
        return self._process.pid

    @property
    def log_text(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        """A request to its REST API, which must succeed. Bytes are sent as they are, other bodies as JSON."""
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        answer = self._http.request(method, f"{self.url}{path}", data=sent, timeout=TIMEOUT_SECONDS)
        assert answer.ok, (
            f"{method} {path}: {answer.status_code} {answer.text[:1000]}\n{self.log_text[-2000:]}"
        )
        return answer

    def get(self, path: str) -> Any:
        return self.call("GET", path).json()

    def post(self, path: str, body: Any) -> Any:
        """Jobs run to their end first; a job that failed is an error."""
        return self.call("POST", path, body).json()

    def add_modality(self, name: str, ae_title: str, port: int, **more: Any) -> None:
        """A peer of this name on loopback; ``more`` are fields of Orthanc's DicomModalities, such as LocalAet."""
        peer = {"AET": ae_title, "Host": "127.0.0.1", "Port": port} | more
        self.call("PUT", f"/modalities/{name}", peer)

    def add_dicomweb_server(self, name: str, url: str, headers: Mapping[str, str], **more: Any) -> None:
        """A DICOMweb server of this name, which is sent ``headers`` with every request."""
        server = {"Url": url, "HttpHeaders": dict(headers)} | more
        self.call("PUT", f"/dicom-web/servers/{name}", server)

    def upload(self, *files: bytes) -> list[str]:
        """Orthanc's own ids of the instances."""
        return [self.post("/instances", file)["ID"] for file in files]

    def ids(self, uid: str) -> list[str]:
        """Orthanc's own ids of what has this Study, Series or SOP Instance UID."""
        return [found["ID"] for found in self.post("/tools/lookup", uid.encode())]

    def file(self, sop_instance_uid: str) -> bytes:
        """The instance as it is stored."""
        (found,) = self.ids(sop_instance_uid)
        return self.call("GET", f"/instances/{found}/file").content

    def forget(self, ids: Iterable[str] | None = None) -> None:
        """Delete these instances, or everything."""
        for found in self.get("/instances") if ids is None else ids:
            self.call("DELETE", f"/instances/{found}")

    def start(self) -> Self:
        assert self._process is None or self._process.poll() is not None, "Orthanc runs already"
        configuration = self._folder / "orthanc.json"
        configuration.write_text(json.dumps(self._settings))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        self._wait_ready()
        return self

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"Orthanc is not ready:\n{self.log_text[-4000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return self._http.get(f"{self.dicomweb_url}/studies?limit=1", timeout=5).ok
        except requests.RequestException:
            return False

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._http.close()
        shutil.rmtree(self._folder)


def _configuration(orthanc: Orthanc, folder: Path, user: tuple[str, str] | None) -> dict[str, Any]:
    """All else is Orthanc's default: no compression, each file synced, the index in SQLite, nothing overwritten."""
    return {
        "Name": "Test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(_PLUGIN)],
        "HttpPort": orthanc.http_port,
        "RemoteAccessAllowed": False,  # loopback only
        "AuthenticationEnabled": user is not None,
        "RegisteredUsers": dict([user]) if user else {},
        "DicomAet": orthanc.ae_title,
        "DicomPort": orthanc.dicom_port,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "UnknownSopClassAccepted": True,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "WadoRoot": "/wado"},
    }
