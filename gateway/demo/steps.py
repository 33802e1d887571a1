"""The steps of the demo, in order. Each does one thing over the wire, and reads back whether it is true."""

import json
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import requests

from gateway.demo import hospital, page_picture, receiver
from gateway.demo.report_check import check_push, check_report, forms, pdf_text
from gateway.demo.stage import POLL_SECONDS, WAIT_SECONDS, Stage
from gateway.demo.timeline import StepFailed, require

LEFT_OUT = 12
"""Index of the CT slice that the PACS forgets at first."""

FINDINGS = (
    "Reviewed: CT of the abdomen of 15 October 2026 (24 slices of 5 mm, portal venous phase), "
    "ultrasound of 13 October 2026, referral letter and histopathology report in translation.\n\n"
    "Heterogeneous mass of 8.0 x 7.0 x 7.5 cm in the right anterior and right posterior sections, "
    "with a necrotic centre and coarse calcifications. The left medial and left lateral sections are "
    "free. The main portal vein and its bifurcation are patent; the right anterior branch is "
    "displaced, and no tumour is seen within it. Hepatic veins and inferior vena cava are patent. No "
    "tumour outside the liver in the abdomen."
)
CONCLUSION = (
    "1. The images support PRETEXT II, P0, V0.\n"
    "2. We prefer cisplatin before a delayed right hepatectomy: on slices of 5 mm, a margin of 1 cm "
    "to the middle hepatic vein and to the portal bifurcation cannot be shown.\n"
    "3. Transplantation need not be considered at this stage."
)
RECOMMENDATIONS = (
    "Please send the CT of the chest: without it we cannot confirm that there are no metastases, and "
    "the risk group stays open. Repeat AFP before each course. Please discuss in your tumour board; "
    "we are available to the treating team."
)


def start(stage: Stage) -> None:
    stage.gateway.start()
    parts = stage.gateway.wait_ready()
    require({"web", "dimse", "worker"} <= set(parts), "not every part reports itself")
    stage.timeline.done(f"The gateway is ready at {stage.gateway.url} (web, DICOM, worker)")


def register_the_hospital(stage: Stage) -> None:
    stage.gateway.command(
        *("partner", "add", hospital.PARTNER_ID, "--name", hospital.NAME),
        *("--jwks", str(stage.hospital.jwks_file()), "--ae", hospital.PACS_AE_TITLE),
        *("--fhir-endpoint", stage.receiver.url, "--fhir-token-url", stage.receiver.token_url),
        *("--fhir-client-id", receiver.CLIENT_ID),
    )
    known = json.loads(stage.gateway.command("partner", "show", hospital.PARTNER_ID))
    require(known["fhir_endpoint"] == stage.receiver.url, "the partner's FHIR endpoint was not kept")
    require(known["fhir_token_url"] == stage.receiver.token_url, "the partner's token URL was not kept")
    stage.timeline.done(f"{hospital.NAME} is a partner: public key, AE title {hospital.PACS_AE_TITLE}")


def add_staff(stage: Stage) -> None:
    for member in (stage.intake, stage.specialist):
        stage.gateway.command(
            *("user", "add", member.login, "--name", member.name, "--role", member.role, "--password-stdin"),
            stdin=member.password + "\n",
        )
        require(member.sign_in()["roles"] == [member.role], f"{member.login} is not {member.role}")
    stage.timeline.done(f"{stage.intake.name} (intake) and {stage.specialist.name} (specialist) sign in")


def try_without_credentials(stage: Stage) -> None:
    for path in ("fhir/Task", "dicom-web/studies", "api/cases"):
        status = requests.get(f"{stage.gateway.url}/{path}", timeout=hospital.TIMEOUT_SECONDS).status_code
        require(status == HTTPStatus.UNAUTHORIZED, f"/{path} answered a stranger with {status}")
    require(not hospital.is_admitted(stage.gateway, "STRANGER"), "an unknown AE title was admitted")
    require(hospital.is_admitted(stage.gateway, hospital.PACS_AE_TITLE), "the hospital's PACS is refused")
    stage.timeline.done("A stranger is refused: FHIR, DICOMweb and API with 401, an unknown AE title")


def get_a_token(stage: Stage) -> None:
    granted = stage.hospital.fetch_token()
    stage.timeline.done(f"The hospital gets a token for {granted['expires_in']} s with its ES384 key")


def post_the_referral(stage: Stage) -> None:
    asked = json.loads(stage.referral)["entry"]
    answer = stage.hospital.post(stage.referral)
    statuses = [entry["response"]["status"][:3] for entry in answer["entry"]]
    require(statuses == ["201"] * len(asked), f"entries were answered with {sorted(set(statuses))}")
    stage.task = stage.hospital.get(f"Task/{answer['link'][0]['url'].rsplit('/', 1)[1]}")
    require(stage.task["focus"]["reference"].startswith("ServiceRequest/"), "the Task has no focus")
    stage.timeline.done(f"A referral of {len(asked)} resources opens case {stage.case_id}")


def see_what_is_missing(stage: Stage) -> None:
    changes = stage.wait_for_findings(*["study-not-received"] * 3, "attachment-unreadable")
    stage.timeline.done("Intake sees what is missing", changes)


def post_it_again(stage: Stage) -> None:
    again = stage.hospital.post(stage.referral)
    require(again["link"][0]["url"].endswith(stage.case_id), "the same bundle went to another case")
    require(len(stage.intake.get("cases")["cases"]) == 1, "the same bundle opened a second case")
    stage.timeline.done("The same referral again changes nothing")


def send_the_ct(stage: Stage) -> None:
    sent = [ds for index, ds in enumerate(stage.ct) if index != LEFT_OUT]
    stored = stage.hospital.storescu(stage.saved(sent))
    require(stored == len(sent), f"{stored} of {len(sent)} slices were answered with success")
    changes = stage.wait_for_findings(
        *["study-not-received"] * 2, "attachment-unreadable", "instances-missing", "slice-gap"
    )
    stage.timeline.done(f"storescu sends the CT, {stored} of {len(stage.ct)} slices", changes)


def ask_the_hospital(stage: Stage) -> None:
    case = stage.case()
    chest = [f["id"] for f in case["findings"] if "chest" in f["finding"]["subject"]]
    wanted = [finding_id for finding_id in stage.open_findings if finding_id not in chest]
    text = "Please send the missing CT slice, the ultrasound and the histopathology report."
    stage.intake.act(stage.case_id, "ask", text=text, finding_ids=wanted)
    enquiries = stage.hospital.search(f"Task?part-of=Task/{stage.case_id}")
    require([e["description"] for e in enquiries] == [text], "the hospital does not see the question")
    require(stage.case()["status"] == "awaiting-information", "the case does not wait for the answer")
    stage.timeline.done("Intake asks the hospital, which reads the question as a Task")


def send_the_missing_slice(stage: Stage) -> None:
    require(stage.hospital.storescu(stage.saved([stage.ct[LEFT_OUT]])) == 1, "the slice was not stored")
    changes = stage.wait_for_findings(*["study-not-received"] * 2, "attachment-unreadable")
    stage.timeline.done("storescu sends the missing slice, and its findings close by themselves", changes)


def stow_the_ultrasound(stage: Stage) -> None:
    instances = stage.ultrasound()
    response = stage.hospital.stow(instances)
    stored = len(response.get("ReferencedSOPSequence", ()))
    require(stored == len(instances), f"{stored} of {len(instances)} instances were stored")
    changes = stage.wait_for_findings("study-not-received", "attachment-unreadable")
    stage.timeline.done(f"STOW-RS sends the ultrasound, {stored} instances", changes)


def supply_the_document(stage: Stage) -> None:
    stage.hospital.post(stage.supplement)
    changes = stage.wait_for_findings("study-not-received")
    case = stage.case()
    require(case["enquiries"][0]["answered_at"], "the question to the hospital is not answered")
    require(case["status"] == "received", f"the case is {case['status']}, and should be back at intake")
    stage.timeline.done("The hospital supplies the report that was empty; the question is answered", changes)


def read_the_imaging_back(stage: Stage) -> None:
    web = stage.hospital.dicomweb()
    for sent in (stage.ct[0], stage.ct[LEFT_OUT]):
        uids = (sent.StudyInstanceUID, sent.SeriesInstanceUID, sent.SOPInstanceUID)
        require(web.retrieve_instance(*uids) == sent, "an instance came back altered")
    found = web.search_for_instances(stage.ct[0].StudyInstanceUID, limit=len(stage.ct) + 1)
    require(len(found) == len(stage.ct), f"QIDO-RS finds {len(found)} of {len(stage.ct)} slices")
    stage.timeline.done(f"QIDO-RS finds {len(found)} slices, and WADO-RS gives them back as they were sent")


def accept_and_assign(stage: Stage) -> None:
    stage.intake.act(stage.case_id, "accept")
    specialist = stage.intake.get("users?role=specialist")["users"][0]
    acted = stage.intake.act(stage.case_id, "assign", specialist_id=specialist["id"])
    require(acted["status"] == "assigned", f"the case is {acted['status']}")
    require(stage.case()["assignee_name"] == stage.specialist.name, "the case has another assignee")
    stage.timeline.done(f"Intake accepts the case and assigns it to {stage.specialist.name}")


def draft_the_opinion(stage: Stage) -> None:
    texts = {"findings_text": FINDINGS, "conclusion": CONCLUSION, "recommendations": RECOMMENDATIONS}
    stage.specialist.act(stage.case_id, "draft", **texts)
    draft = stage.specialist.case(stage.case_id)["opinions"][0]
    require({name: draft[name] for name in texts} == texts, "the draft is not what was written")
    require(stage.hospital.search(_reports(stage)) == [], "the hospital sees a draft")
    stage.timeline.done("The specialist drafts the opinion; the hospital does not see it yet")


def sign_the_opinion(stage: Stage) -> None:
    seen = stage.specialist.case(stage.case_id)
    stage.specialist.act(stage.case_id, "sign", confirmed=seen["fingerprint"])
    signed = stage.specialist.case(stage.case_id)["opinions"][0]
    require(signed["signed_at"] and signed["report_sha256"], "the opinion is not signed")
    stage.timeline.done("The specialist signs; opinion and report are frozen")


def fetch_the_report(stage: Stage) -> None:
    reports = stage.hospital.search(_reports(stage))
    require(len(reports) == 1, f"the hospital finds {len(reports)} reports")
    stage.report = reports[0]
    check_report(stage.report, stage.service_request, stage.task["for"]["reference"], CONCLUSION)
    stage.timeline.done("The hospital fetches the DiagnosticReport; fhir.resources accepts it")


def open_its_forms(stage: Stage) -> None:
    presented = forms(stage.report)
    text = pdf_text(presented["application/pdf"])
    require(stage.case_id in text and "PRETEXT II" in text, "the PDF is not this report")
    for form in (text, presented["text/html"].decode()):
        require("CT chest" in form, "a form does not declare that the CT of the chest was not received")
    sizes = ", ".join(f"{kind} {len(content) // 1024 + 1} KB" for kind, content in presented.items())
    stage.timeline.done(f"Size and hash are true, the PDF opens, the limitations name the chest CT ({sizes})")


def receive_the_push(stage: Stage) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (pushed := [d for d in stage.case()["deliveries"] if d["channel"] == "fhir-push"]) or (
        pushed[0]["state"] == "pending"
    ):
        if time.monotonic() > deadline:
            raise StepFailed("the report was not pushed to the hospital's own server in time")
        time.sleep(POLL_SECONDS)
    require(pushed[0]["state"] == "delivered", f"the push is {pushed[0]['state']}: {pushed[0]['last_error']}")
    require(len(stage.receiver.received) == 1, f"{len(stage.receiver.received)} transactions arrived")
    check_push(stage.receiver.received[0], stage.report)
    require(len(stage.receiver.tokens) == 1, f"the hospital gave {len(stage.receiver.tokens)} tokens")
    stage.timeline.done(
        f"The same report is pushed to the hospital's own server, with a token for the gateway's ES384 key; "
        f"receipt: {pushed[0]['receipt']}"
    )


def read_the_trail(stage: Stage) -> None:
    acts = stage.intake.get(f"cases/{stage.case_id}/timeline")["acts"]
    done = {act["action"] for act in acts}
    missing = {"bundle-received", "ask", "accept", "assign", "draft", "sign", "deliver", "read"} - done
    require(not missing, f"the trail lacks {', '.join(sorted(missing))}")
    task = stage.hospital.get(f"Task/{stage.case_id}")
    require(task["status"] == "completed", f"the hospital's Task is {task['status']}")
    require(task["output"], "the hospital's Task does not name the report")
    stage.timeline.done(
        f"The case is {stage.case()['status']}, the hospital's Task completed, {len(acts)} acts on the trail"
    )


def write_the_output(stage: Stage) -> None:
    presented = forms(stage.report)
    files = {
        "diagnostic-report.json": _pretty(stage.report),
        "report.pdf": presented["application/pdf"],
        "report.html": presented["text/html"],
        "case.json": _pretty(stage.case()),
    }
    for name, content in files.items():
        (stage.output / name).write_bytes(content)
    picture = page_picture.take(
        stage.gateway.url, stage.intake, stage.case_id, stage.output / page_picture.NAME
    )
    names = ", ".join([*files, *([page_picture.NAME] if picture else [])])
    stage.timeline.done(f"Written to {_shown(stage.output)}: {names}")


STEPS: tuple[Callable[[Stage], None], ...] = (
    start,
    register_the_hospital,
    add_staff,
    try_without_credentials,
    get_a_token,
    post_the_referral,
    see_what_is_missing,
    post_it_again,
    send_the_ct,
    ask_the_hospital,
    send_the_missing_slice,
    stow_the_ultrasound,
    supply_the_document,
    read_the_imaging_back,
    accept_and_assign,
    draft_the_opinion,
    sign_the_opinion,
    fetch_the_report,
    open_its_forms,
    receive_the_push,
    read_the_trail,
    write_the_output,
)


def _reports(stage: Stage) -> str:
    return f"DiagnosticReport?based-on={stage.service_request}"


def _pretty(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def _shown(folder: Path) -> str:
    return f"{folder.name}/" if folder.parent == Path.cwd() else str(folder)
