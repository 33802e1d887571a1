"""A case worked by two people in a real browser, and what only a browser can tell of the pages."""

import os
import shutil
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

from tests.support.bundles import PDF, document_reference, imaging_study, referral, wait_for
from tests.support.gateway_process import INTAKE, SPECIALIST, GatewayProcess, StaffLogin
from tests.support.hospital import Scene, images
from tests.support.partner import Partner

CHROMIUM = os.environ.get("GATEWAY_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
REFRESH_MS = 11_000
LAPTOP, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=390, height=780)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not os.path.exists(CHROMIUM):
        pytest.skip("no Chromium: install the Debian package chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def scene(gateway: GatewayProcess, partner: Partner) -> Scene:
    return Scene(gateway, partner)


Opens = Callable[..., Page]


@pytest.fixture
def open_as(browser: Browser, gateway: GatewayProcess) -> Iterator[Opens]:
    """A signed-in window, whose ``clock`` a test may move.

    At the end no window may have complained: no refused script, style or frame.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def opened(staff: StaffLogin, *, clock: bool = False, **options: object) -> Page:
        context = browser.new_context(base_url=gateway.base_url, **({"viewport": LAPTOP} | options))
        contexts.append(context)
        page = context.new_page()
        if clock:
            page.clock.install()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto("/")
        page.get_by_label("Login").fill(staff.login)
        page.get_by_label("Password").fill(staff.password)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Worklist")).to_be_visible()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def new_case(scene: Scene) -> str:
    """With a document, an empty document and a CT series that lacks nothing."""
    mrn, uid, series = uuid4().hex[:10], f"2.25.{uuid4().int}", f"2.25.{uuid4().int}"
    case_id = scene.ehr.open_case(
        referral(
            mrn,
            letter=document_reference(PDF),
            empty=document_reference(None),
            imaging=imaging_study(uid, {series: 6}),
        )
    )
    assert scene.pacs.store(*images(mrn, 6, uid, series)).status_code == 200
    wait_for(lambda: scene.intake.case(case_id)["studies"] and scene.intake.open_checks(case_id))
    return case_id


@pytest.fixture(scope="module")
def case_to_look_at(scene: Scene) -> str:
    return new_case(scene)


def test_two_people_work_a_case_to_its_signed_report(scene: Scene, open_as: Opens) -> None:
    case_id = new_case(scene)
    intake = open_as(INTAKE, clock=True)
    intake.locator(f"#case-{case_id}").click()
    banner = intake.get_by_role("region", name="Patient", exact=True)
    expect(banner).to_contain_text("Okafor")
    expect(banner).to_contain_text("9 Mar 2018")
    intake.get_by_role("button", name="Accept for review").click()
    expect(intake.get_by_role("status")).to_contain_text("accepted for review")
    intake.get_by_role("combobox").select_option(label=SPECIALIST.name)
    intake.get_by_role("button", name="Assign", exact=True).click()
    expect(intake.get_by_role("status")).to_contain_text("The case is assigned")

    specialist = open_as(SPECIALIST)
    specialist.locator(f"#case-{case_id}").click()
    specialist.get_by_role("button", name="Write the opinion").click()
    specialist.get_by_label("Findings").fill("A mass of the right lobe.")
    specialist.get_by_label("Conclusion").fill("Surgery is possible.")
    specialist.get_by_role("button", name="Save, check and sign").click()
    expect(specialist.get_by_role("heading", name="Check and sign")).to_be_visible()
    expect(specialist.get_by_text("Declared as limits")).to_be_visible()
    expect(specialist.frame_locator("iframe").get_by_text("Surgery is possible.").first).to_be_visible()
    specialist.get_by_role("checkbox").check()
    specialist.get_by_role("button", name=f"Sign as {SPECIALIST.name}").click()
    expect(specialist.get_by_role("heading", name="Signed opinion")).to_be_visible()
    expect(specialist.frame_locator("iframe").get_by_text("Surgery is possible.").first).to_be_visible()

    intake.clock.fast_forward(REFRESH_MS)
    expect(intake.get_by_text("This case has changed since you opened it.")).to_be_visible()
    intake.get_by_role("link", name="Load it again").click()
    expect(intake.get_by_role("region", name="Patient", exact=True)).to_contain_text("Signed")
    expect(intake.locator("#opinion")).to_contain_text("Surgery is possible.")
    expect(intake.locator("#timeline")).to_contain_text(f"{SPECIALIST.name} signed the opinion")


def test_the_worklist_shows_a_new_case_without_being_loaded_again(scene: Scene, open_as: Opens) -> None:
    page = open_as(INTAKE, clock=True)
    case_id = scene.ehr.open_case(referral())
    expect(page.locator(f"#case-{case_id}")).to_have_count(0)
    page.clock.fast_forward(REFRESH_MS)
    expect(page.locator(f"#case-{case_id}")).to_be_visible()


def test_a_document_is_saved_as_it_was_sent(case_to_look_at: str, open_as: Opens) -> None:
    page = open_as(INTAKE)
    page.goto(f"/cases/{case_to_look_at}")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save Letter").first.click()
    assert download.value.path().read_bytes() == PDF
    assert download.value.suggested_filename == "Letter.pdf"


def test_a_page_is_worked_by_keyboard_alone(scene: Scene, open_as: Opens) -> None:
    page = open_as(INTAKE)
    page.goto(f"/cases/{new_case(scene)}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Accept for review")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("accepted for review")


def test_whose_case_it_is_stays_in_view(case_to_look_at: str, open_as: Opens) -> None:
    page = open_as(INTAKE)
    for viewport in (LAPTOP, PHONE):
        page.set_viewport_size(viewport)
        page.goto(f"/cases/{case_to_look_at}")
        page.locator("#timeline").scroll_into_view_if_needed()
        assert page.evaluate("window.scrollY") > 500
        expect(page.get_by_role("region", name="Patient", exact=True)).to_be_in_viewport()


PAGES = ["/", "/cases/{}", "/imaging", "/refused"]


def test_every_page_fits_a_phone(case_to_look_at: str, open_as: Opens) -> None:
    page = open_as(INTAKE, viewport=PHONE)
    for path in PAGES:
        page.goto(path.format(case_to_look_at))
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path


# WCAG 2.2, 1.4.3: the contrast of every visible text with what is behind it; returns the faint ones.
FAINT_TEXTS = """() => {
  const parse = colour => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((v, i) => i < 3 ? v : v / 255);
  };
  const light = rgb => {
    const [r, g, b] = rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return parse(matchMedia('(prefers-color-scheme: dark)').matches ? '#000' : '#fff');
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    const box = element.getBoundingClientRect();
    if (!text || box.width < 2 || !element.checkVisibility()) continue;
    const [a, b] = [parse(getComputedStyle(element).color), behind(element)].map(c => light(c.slice(0, 3)));
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(`${contrast.toFixed(2)} ${element.tagName} ${text.slice(0, 40)}`);
  }
  return faint;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(
    case_to_look_at: str, open_as: Opens, scheme: str
) -> None:
    page = open_as(INTAKE, color_scheme=scheme)
    for path in PAGES:
        page.goto(path.format(case_to_look_at))
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert page.evaluate(FAINT_TEXTS) == [], path


UNNAMED_FIELDS = """() => [...document.querySelectorAll('input, select, textarea, button, a[href], iframe')]
  .filter(e => e.type !== 'hidden' && e.checkVisibility())
  .filter(e => !(e.labels?.length || e.textContent.trim() || e.ariaLabel || e.title || e.querySelector('img[alt]')))
  .map(e => e.outerHTML.slice(0, 80))"""


def test_every_field_and_link_has_a_name(case_to_look_at: str, open_as: Opens) -> None:
    page = open_as(INTAKE)
    for path in PAGES:
        page.goto(path.format(case_to_look_at))
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert page.evaluate(UNNAMED_FIELDS) == [], path
