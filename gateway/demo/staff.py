"""The children's hospital's staff, through the JSON API that the pages offer beside themselves."""

import secrets
from dataclasses import dataclass, field
from typing import Any

import requests

from gateway.demo.running import RunningGateway
from gateway.demo.timeline import require

TIMEOUT_SECONDS = 30


@dataclass
class StaffMember:
    gateway: RunningGateway
    login: str
    name: str
    role: str
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)
    _session: requests.Session = field(default_factory=requests.Session, repr=False)

    def sign_in(self) -> dict[str, Any]:
        return self.post("session", login=self.login, password=self.password)

    def case(self, case_id: str) -> dict[str, Any]:
        return self.get(f"cases/{case_id}")

    def act(self, case_id: str, action: str, **body: Any) -> dict[str, Any]:
        """Do one act to the case; returns the case's status afterwards and what was created."""
        return self.post(f"cases/{case_id}/{action}", **body)

    def get(self, path: str) -> dict[str, Any]:
        answer = self._session.get(f"{self.gateway.url}/api/{path}", timeout=TIMEOUT_SECONDS)
        return _content(answer, path)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self._session.post(f"{self.gateway.url}/api/{path}", json=body, timeout=TIMEOUT_SECONDS)
        return _content(answer, path)


def _content(answer: requests.Response, path: str) -> dict[str, Any]:
    require(answer.ok, f"the staff API answered {path} with {answer.status_code}: {answer.text[:500]}")
    found: dict[str, Any] = answer.json()
    return found
