"""A picture of the case page, taken by signing in with a browser as a person would."""

import shutil
from pathlib import Path

from gateway.demo.staff import StaffMember

NAME = "case-page.png"
_WIDTH, _HEIGHT = 1280, 1600


def take(url: str, member: StaffMember, case_id: str, file: Path) -> bool:
    """False where there is no Chromium, or no playwright as in an installation for operation."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return False
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return False
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        page.goto(f"{url}/sign-in?next=/cases/{case_id}")
        page.fill("input[name=login]", member.login)
        page.fill("input[name=password]", member.password)
        page.press("input[name=password]", "Enter")
        page.wait_for_url(f"{url}/cases/{case_id}")
        page.screenshot(path=file)
        browser.close()
    return file.exists()
