"""The referring hospital as its own systems act: OAuth client, FHIR client, PACS (dcmtk and DICOMweb)."""

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests
from dicomweb_client.api import DICOMwebClient
from joserfc import jwt
from joserfc.jwk import ECKey
from pydicom.dataset import Dataset

from gateway.demo.running import AE_TITLE, HOST, RunningGateway
from gateway.demo.timeline import require

PARTNER_ID, NAME, PACS_AE_TITLE = "mihon-children", "Mihon Children's Hospital", "MIHON_PACS"
TIMEOUT_SECONDS = 30
FHIR_JSON = "application/fhir+json"
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

Resource = dict[str, Any]


def _new_key() -> ECKey:
    return ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384", "kid": str(uuid4())}, auto_kid=False)


@dataclass
class Hospital:
    gateway: RunningGateway
    folder: Path
    key: ECKey = field(default_factory=_new_key, repr=False)
    token: str = field(default="", repr=False)

    def jwks_file(self) -> Path:
        """The public key alone: what the operator of the gateway is given."""
        file = self.folder / "hospital.jwks.json"
        file.write_text(json.dumps({"keys": [self.key.as_dict(private=False)]}))
        return file

    # OAuth: SMART App Launch 2.2.0, Backend Services

    def fetch_token(self) -> Resource:
        """The token endpoint's answer; later requests carry its token."""
        url = f"{self.gateway.url}/.well-known/smart-configuration"
        endpoint = requests.get(url, timeout=TIMEOUT_SECONDS).json()["token_endpoint"]
        form = {
            "grant_type": "client_credentials",
            "scope": "system/*.cruds",
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._assertion(endpoint),
        }
        answer = requests.post(endpoint, data=form, timeout=TIMEOUT_SECONDS)
        require(answer.status_code == 200, f"the token endpoint answered {answer.status_code}: {answer.text}")
        granted: Resource = answer.json()
        self.token = granted["access_token"]
        return granted

    def _assertion(self, audience: str) -> str:
        now = int(time.time())
        claims = {"iss": PARTNER_ID, "sub": PARTNER_ID, "aud": audience, "iat": now, "exp": now + 240}
        header = {"alg": "ES384", "typ": "JWT", "kid": self.key.kid}
        return jwt.encode(header, claims | {"jti": str(uuid4())}, self.key, algorithms=["ES384"])

    @property
    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    # FHIR

    def post(self, bundle: bytes) -> Resource:
        headers = self._authorization | {"Content-Type": FHIR_JSON, "Accept": FHIR_JSON}
        answer = requests.post(
            f"{self.gateway.url}/fhir", data=bundle, headers=headers, timeout=TIMEOUT_SECONDS
        )
        require(answer.ok, f"the bundle was answered with {answer.status_code}: {answer.text[:500]}")
        found: Resource = answer.json()
        return found

    def get(self, path: str) -> Resource:
        headers = self._authorization | {"Accept": FHIR_JSON}
        answer = requests.get(f"{self.gateway.url}/fhir/{path}", headers=headers, timeout=TIMEOUT_SECONDS)
        require(answer.ok, f"GET {path} was answered with {answer.status_code}: {answer.text[:500]}")
        found: Resource = answer.json()
        return found

    def search(self, query: str) -> list[Resource]:
        return [entry["resource"] for entry in self.get(query).get("entry", ())]

    # PACS

    def storescu(self, files: Sequence[Path]) -> int:
        """C-STORE by dcmtk; returns how many instances were answered with success."""
        done = _dcmtk("storescu", self.gateway, PACS_AE_TITLE, *map(str, files))
        require(done.returncode == 0, f"storescu ended with {done.returncode}: {done.stderr[-500:]}")
        return (done.stdout + done.stderr).count("Received Store Response (Success)")

    def dicomweb(self) -> DICOMwebClient:
        session = requests.Session()
        session.headers.update(self._authorization)
        return DICOMwebClient(url=f"{self.gateway.url}/dicom-web", session=session)

    def stow(self, instances: list[Dataset]) -> Dataset:
        """STOW-RS; returns the Store Instances Response (PS3.18 I.2)."""
        return self.dicomweb().store_instances(instances)


def is_admitted(gateway: RunningGateway, calling_ae_title: str) -> bool:
    """Does a C-ECHO of that application entity get an association?"""
    return _dcmtk("echoscu", gateway, calling_ae_title).returncode == 0


def _dcmtk(program: str, gateway: RunningGateway, aet: str, *files: str) -> subprocess.CompletedProcess[str]:
    command = [program, "-v", "-aet", aet, "-aec", AE_TITLE, HOST, str(gateway.dicom_port), *files]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
