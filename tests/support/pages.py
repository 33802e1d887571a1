"""Somebody in front of the pages, without a browser: cookies, forms with their CSRF token, no redirect followed."""

import re
from typing import Any

import requests

from tests.support.gateway_process import StaffLogin

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


class PageVisitor:
    """Signed in as ``login``, or nobody."""

    def __init__(self, base_url: str, login: StaffLogin | None = None) -> None:
        self.base_url = base_url
        self.http = requests.Session()
        self.token = ""
        self.get("/sign-in")
        if login is not None:
            answer = self.sign_in(login.login, login.password)
            assert answer.status_code == 302, answer.text
            self.get("/")

    def get(self, path: str, **headers: str) -> requests.Response:
        answer = self.http.get(f"{self.base_url}{path}", headers=headers, allow_redirects=False, timeout=60)
        if found := _TOKEN.search(answer.text if "html" in answer.headers.get("Content-Type", "") else ""):
            self.token = found[1]
        return answer

    def post(self, path: str, **fields: Any) -> requests.Response:
        """A form with the token of the page that was seen last; ``csrf_token`` replaces it."""
        form = {"csrf_token": self.token} | fields
        answer = self.http.post(f"{self.base_url}{path}", data=form, allow_redirects=False, timeout=60)
        if found := _TOKEN.search(answer.text):
            self.token = found[1]
        return answer

    def sign_in(self, login: str, password: str, then: str = "/") -> requests.Response:
        return self.post("/sign-in", login=login, password=password, next=then)
