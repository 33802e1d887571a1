"""Registering partners and staff: what could not work later is refused now, with every fault at once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from joserfc.jwk import ECKey

from gateway.auth.accounts import add_partner, add_user, change_partner, disable_partner, enable_partner
from gateway.auth.ae import Caller, Certificate, authenticate_ae, known_ae
from gateway.errors import Conflict, InvalidContent, NotFound, UnknownSender
from gateway.store import partners
from gateway.store.partners import DEMO_PARTNER_ID, ApplicationEntity, DicomWebEndpoint, Registration
from gateway.store.tables import AuditRow
from tests.support.in_process import migrated_services

KEY = ECKey.generate_key("P-384", parameters={"kid": "k1"})
JWKS = {"keys": [KEY.as_dict(private=False)]}
GOOD = Registration("hospital-a", "Hospital A", jwks=JWKS)
CERTIFICATE_FAULT = (
    "a certificate is told by sha256: and 64 hex digits, or by its subject such as CN=pacs,O=Clinic"
)
PACS_TWICE = (ApplicationEntity("PACS"), ApplicationEntity("PACS "))
AE_FAULT = "an AE title must be 1 to 16 printable ASCII characters without backslash"
AE_CALL_FAULT = "an AE that the gateway calls needs a host and a port of 1 to 65535"
ID_FAULT = "the id must be 1 to 64 letters, digits or . _ - and begin with a letter or digit"
NAME_FAULT = "the name must be 1 to 200 printable characters"
AUTHORITY_FAULT = "the assigning authority must be a URI of at most 200 characters without spaces"
LOGIN_FAULT = "the login must be 1 to 100 letters, digits or . _ @ + - and begin with a letter or digit"
ROLE_FAULT = "a user has one or more of the roles intake, specialist"
PASSWORD_FAULT = "the password must have 12 to 200 characters"
URL_FAULT = "cannot be used: it must be an https URL"
HOST_FAULT = f"{URL_FAULT} with a host, without user name and fragment"
PUSH = {
    "fhir_endpoint": "https://h.example/fhir",
    "fhir_token_url": "https://h.example/token",
    "fhir_client_id": "so",
}
CLIENT_ID_FAULT = "the client id must be 1 to 255 printable ASCII characters without spaces"
TOGETHER_FAULT = "the token URL and the client id are registered together or not at all"
SCOPE_ALONE_FAULT = "scopes for the FHIR endpoint need the token URL that they are asked from"
PULL = {
    "dicomweb_endpoints": (DicomWebEndpoint("https://h.example/dicom-web"),),
    "dicomweb_token_url": "https://h.example/token",
    "dicomweb_client_id": "so",
}
WITHOUT_TOKEN = {"dicomweb_token_url": "", "dicomweb_client_id": ""}
LOGIN_FOR_DICOMWEB_FAULT = "the login for DICOMweb must be NAME:PASSWORD in printable characters, 500 at most"
SCOPE_FAULT = "a scope for the FHIR endpoint must be one word of printable ASCII characters"


@pytest.fixture
def services(tmp_path):
    return migrated_services(tmp_path)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """For what is refused: nobody is ever registered here."""
    return migrated_services(tmp_path_factory.mktemp("registration"))


def at(url: str, location_uid: str = "") -> dict[str, object]:
    return {"dicomweb_endpoints": (DicomWebEndpoint(url, location_uid),)}


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        (at("http://h.example/"), f"the DICOMweb endpoint {URL_FAULT}"),
        (at("https://u:p@h.example/"), f"the DICOMweb endpoint {HOST_FAULT}"),
        (at("https://h.example/?a=b"), "the DICOMweb endpoint must be a base URL without a query"),
        (at("https://h.example/", "1..2"), "the location 1..2 of a DICOMweb endpoint is no UID"),
        ({"dicomweb_endpoints": ()}, "a token URL or a login for DICOMweb needs the DICOMweb endpoint that it is for"),
        ({"dicomweb_token_url": "http://h.example/"}, f"the token URL {URL_FAULT}"),
        ({"dicomweb_client_id": ""}, TOGETHER_FAULT),
        ({"dicomweb_scopes": ("a b",)}, SCOPE_FAULT.replace("FHIR", "DICOMweb")),
        ({"dicomweb_login": "a:b"}, "either a token URL or a login is registered for DICOMweb, not both"),
        (WITHOUT_TOKEN | {"dicomweb_login": "nobody"}, LOGIN_FOR_DICOMWEB_FAULT),
    ],
)  # fmt: skip
def test_a_dicomweb_endpoint_is_asked_by_tls(untouched, fields, fault) -> None:
    assert _faults(untouched, Registration("h", "H", **(PULL | fields))) == [fault]


def _faults(untouched, registration) -> list[str]:
    with pytest.raises(InvalidContent) as refused:
        add_partner(untouched, registration)
    with untouched.database.reading() as session:
        assert partners.every(session) == []
    faults = [issue.text for issue in refused.value.issues]
    assert str(refused.value) == f"The partner was not added: {'; '.join(faults)}."
    return faults


def test_a_partner_is_kept_as_registered(services):
    wanted = replace(
        GOOD,
        name=" Krankenhaus Zürich ",
        assigning_authority="urn:oid:2.16.756.5.30",
        scopes=("system/Patient.rs", "system/*.write"),
        fhir_endpoint="https://fhir.hospital.example/r4",
        fhir_token_url="http://127.0.0.1:9000/token",
        fhir_client_id="second-opinion",
        fhir_scopes=("system/DiagnosticReport.cs", "https://h.example/.default"),
        application_entities=(
            ApplicationEntity(" PACS 1 ", "pacs.hospital.example", 104),
            ApplicationEntity("CT#1"),
        ),
    )
    kept = replace(
        wanted,
        name="Krankenhaus Zürich",
        application_entities=(
            ApplicationEntity("CT#1"),
            ApplicationEntity("PACS 1", "pacs.hospital.example", 104),
        ),
    )
    assert add_partner(services, wanted) == kept
    with services.database.reading() as session:
        assert partners.get(session, "hospital-a") == kept
        [row] = session.query(AuditRow)
    assert (row.actor, row.action, row.subject) == ("user:operator", "add-partner", "partner:hospital-a")


def test_without_an_assigning_authority_the_partner_issues_its_own_identifiers(services):
    assert add_partner(services, GOOD).assigning_authority == "urn:second-opinion:partner:hospital-a"


@pytest.mark.parametrize(
    ("changed", "faults"),
    [
        ({"id": ""}, [ID_FAULT]),
        ({"id": "-a"}, [ID_FAULT]),
        ({"id": "hospital a"}, [ID_FAULT]),
        ({"id": "hospital/../b"}, [ID_FAULT]),
        ({"id": "a" * 65}, [ID_FAULT]),
        ({"id": "hospital-a\n"}, [ID_FAULT]),
        ({"name": "  "}, [NAME_FAULT]),
        ({"name": "n" * 201}, [NAME_FAULT]),
        ({"name": "a\0b"}, [NAME_FAULT]),
        ({"assigning_authority": "two words"}, [AUTHORITY_FAULT]),
        ({"scopes": ("system/*.rs", "user/*.rs")}, ["the scope user/*.rs is no SMART system scope"]),
        ({"scopes": ("system/*.sr",)}, ["the scope system/*.sr is no SMART system scope"]),
        ({"scopes": ()}, ["at least one scope is needed, for example system/*.cruds"]),
        ({"jwks_url": "https://h.example/jwks"}, ["either a JWKS or a JWKS URL is registered, not both"]),
        ({"jwks": {}}, ["in the JWKS, it is no JWK Set: an object with a list 'keys' was expected (RFC 7517 5)"]),
        ({"jwks": {"keys": []}}, ["in the JWKS, it holds no key"]),
        ({"jwks": {"keys": JWKS["keys"] * 2}}, ["in the JWKS, two keys have the same kid"]),
        ({"jwks": {"keys": [{"kty": "EC", "kid": "1"}]}}, ["in the JWKS, key 1 is no valid EC key"]),
        ({"jwks": None, "jwks_url": "http://h.example/"}, ["the JWKS URL cannot be used: it must be an https URL"]),
        ({"jwks": None, "jwks_url": "https://h.example/" + "a" * 500}, ["the JWKS URL cannot be used: it is too long"]),
        ({"fhir_endpoint": "ftp://h.example/"}, [f"the FHIR endpoint {URL_FAULT}"]),
        ({"fhir_endpoint": "http://h.example/"}, [f"the FHIR endpoint {URL_FAULT}"]),
        ({"fhir_endpoint": "h.example/fhir"}, [f"the FHIR endpoint {HOST_FAULT}"]),
        (
            {"notify_endpoints": ("https://10.0.0.5/hook", "http://10.0.0.5/")},
            [f"the endpoint for notifications {URL_FAULT}"],
        ),
        ({"fhir_endpoint": "https://user:word@h.example/"}, [f"the FHIR endpoint {HOST_FAULT}"]),
        ({"fhir_endpoint": "https://h.example:0/"}, [f"the FHIR endpoint {HOST_FAULT}"]),
        (PUSH | {"fhir_token_url": "http://h.example/"}, [f"the token URL {URL_FAULT}"]),
        (PUSH | {"fhir_token_url": "https://h .example/"}, [f"the token URL {HOST_FAULT}"]),
        (PUSH | {"fhir_token_url": "https://h.example/" + "a" * 500}, ["the token URL cannot be used: it is too long"]),
        (PUSH | {"fhir_token_url": ""}, [TOGETHER_FAULT]),
        (PUSH | {"fhir_client_id": ""}, [TOGETHER_FAULT]),
        (PUSH | {"fhir_endpoint": ""}, ["a token URL needs the FHIR endpoint that its tokens are for"]),
        (PUSH | {"fhir_client_id": "two words"}, [CLIENT_ID_FAULT]),
        (PUSH | {"fhir_client_id": "c" * 256}, [CLIENT_ID_FAULT]),
        (PUSH | {"fhir_scopes": ("system/*.c", "system/*.c system/*.r")}, [SCOPE_FAULT]),
        (PUSH | {"fhir_scopes": ("",)}, [SCOPE_FAULT]),
        ({"fhir_scopes": ("system/*.c",)}, [SCOPE_ALONE_FAULT]),
        ({"application_entities": (ApplicationEntity("  "),)}, [AE_FAULT]),
        ({"application_entities": (ApplicationEntity("A" * 17),)}, [AE_FAULT]),
        ({"application_entities": (ApplicationEntity("A\\B"),)}, [AE_FAULT]),
        ({"application_entities": (ApplicationEntity("A\tB"),)}, [AE_FAULT]),
        ({"application_entities": (ApplicationEntity("KÖLN"),)}, [AE_FAULT]),
        ({"application_entities": (ApplicationEntity("PACS", "pacs.example"),)}, [AE_CALL_FAULT]),
        ({"application_entities": (ApplicationEntity("PACS", "", 104),)}, [AE_CALL_FAULT]),
        ({"application_entities": (ApplicationEntity("PACS", "pacs.example", 70000),)}, [AE_CALL_FAULT]),
        ({"application_entities": PACS_TWICE}, ["an AE title stands twice"]),
        ({"id": "", "name": "", "fhir_endpoint": "x"}, [ID_FAULT, NAME_FAULT, f"the FHIR endpoint {HOST_FAULT}"]),
    ],
)  # fmt: skip
def test_a_partner_that_could_not_work_is_refused(untouched, changed, faults):
    assert _faults(untouched, replace(GOOD, **changed)) == faults


def test_the_private_key_is_never_kept(untouched):
    [fault] = _faults(untouched, replace(GOOD, jwks={"keys": [KEY.as_dict(private=True)]}))
    assert "holds a private key" in fault


def test_an_id_or_an_ae_title_is_registered_once(services):
    add_partner(services, replace(GOOD, application_entities=(ApplicationEntity("PACS"),)))
    with pytest.raises(Conflict, match=r"^Partner hospital-a is registered already\.$"):
        add_partner(services, GOOD)
    with pytest.raises(Conflict, match=r"^AE title PACS belongs to a partner already\.$"):
        add_partner(
            services, replace(GOOD, id="hospital-b", application_entities=(ApplicationEntity("PACS"),))
        )


# Changing a partner

WHOLE = replace(
    GOOD,
    assigning_authority="urn:oid:1.2",
    scopes=("system/*.cruds",),
    fhir_scopes=("system/*.c",),
    application_entities=(ApplicationEntity("CT"), ApplicationEntity("PACS", "pacs.example", 104)),
    **PUSH,
)
NEW_JWKS = {"keys": [ECKey.generate_key("P-384", parameters={"kid": "k2"}).as_dict(private=False)]}
NEW_URL = "https://hospital.example/jwks"


@pytest.mark.parametrize(
    ("given", "gone", "expected"),
    [
        ({"name": " Hospital Z "}, (), {"name": "Hospital Z"}),
        ({"fhir_client_id": "right"}, (), {"fhir_client_id": "right"}),
        ({"fhir_endpoint": "https://h.example/r4"}, (), {"fhir_endpoint": "https://h.example/r4"}),
        ({"scopes": ("system/Task.r",)}, (), {"scopes": ("system/Task.r",)}),
        ({"fhir_scopes": ()}, (), {"fhir_scopes": ()}),
        ({"jwks": NEW_JWKS}, (), {"jwks": NEW_JWKS}),
        ({"jwks_url": NEW_URL}, (), {"jwks": None, "jwks_url": NEW_URL}),
        ({"jwks_url": ""}, (), {}),
        ({"assigning_authority": ""}, (), {"assigning_authority": "urn:second-opinion:partner:hospital-a"}),
        ({}, (" CT ",), {"application_entities": (ApplicationEntity("PACS", "pacs.example", 104),)}),
        ({}, ("CT", "PACS"), {"application_entities": ()}),
        (
            {"fhir_endpoint": "", "fhir_token_url": "", "fhir_client_id": "", "fhir_scopes": ()},
            (),
            {"fhir_endpoint": "", "fhir_token_url": "", "fhir_client_id": "", "fhir_scopes": ()},
        ),
    ],
)
def test_what_is_given_changes_and_the_rest_stays(services, given, gone, expected):
    add_partner(services, WHOLE)
    changed = change_partner(services, "hospital-a", given, gone)
    assert changed == replace(WHOLE, **expected)
    with services.database.reading() as session:
        assert partners.get(session, "hospital-a") == changed
        row = session.query(AuditRow).order_by(AuditRow.id.desc()).first()
    assert (row.actor, row.action, row.subject) == ("user:operator", "change-partner", "partner:hospital-a")
    assert set(row.detail["changed"]) == set(expected)


@pytest.mark.parametrize(
    ("title", "given", "expected"),
    [
        ("PACS", {"host": "other.example", "port": 11112}, {"host": "other.example", "port": 11112}),
        (" PACS ", {"called_ae_title": " OPINIONS "}, {"called_ae_title": "OPINIONS"}),
        (
            "PACS",
            {"addresses": ("10.1.2.0/24", "2001:db8::7")},
            {"addresses": ("10.1.2.0/24", "2001:db8::7")},
        ),
        ("PACS", {"certificate": f"sha256:{'0a' * 32}"}, {"certificate": f"sha256:{'0a' * 32}"}),
        ("PACS", {"certificate": "CN=pacs,O=Clinic"}, {"certificate": "CN=pacs,O=Clinic"}),
        ("PACS", {"tls": True}, {"tls": True}),
    ],
)
def test_what_is_given_of_an_ae_changes_and_the_rest_stays(services, title, given, expected):
    add_partner(services, WHOLE)
    changed = change_partner(services, "hospital-a", {}, aes={title: given})
    ct, pacs = WHOLE.application_entities
    assert changed.application_entities == (ct, replace(pacs, **expected))
    with services.database.reading() as session:
        assert partners.get(session, "hospital-a") == changed


def test_an_ae_is_added_and_another_forgotten_at_once(services):
    add_partner(services, WHOLE)
    changed = change_partner(services, "hospital-a", {}, ("CT", "PACS"), {"US ": {}})
    assert changed.application_entities == (ApplicationEntity("US"),)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"called_ae_title": "A" * 17}, AE_FAULT),
        ({"addresses": ("10.0.0.1/24",)}, "10.0.0.1/24 is no IP address and no network in CIDR"),
        ({"addresses": ("pacs.example",)}, "pacs.example is no IP address and no network in CIDR"),
        ({"certificate": "sha256:1234"}, CERTIFICATE_FAULT),
        ({"certificate": "pacs"}, CERTIFICATE_FAULT),
        (
            {"host": "", "port": 0, "tls": True},
            "TLS is for an AE that the gateway calls: it needs a host and a port",
        ),
    ],
)
def test_what_could_not_work_of_an_ae_is_refused(services, given, fault):
    add_partner(services, WHOLE)
    with pytest.raises(InvalidContent) as refused:
        change_partner(services, "hospital-a", {}, aes={"PACS": given})
    assert [issue.text for issue in refused.value.issues] == [fault]


def test_a_key_set_replaces_a_jwks_url(services):
    add_partner(services, replace(GOOD, jwks=None, jwks_url=NEW_URL))
    changed = change_partner(services, "hospital-a", {"jwks": JWKS})
    assert (changed.jwks, changed.jwks_url) == (JWKS, "")


@pytest.mark.parametrize(
    ("given", "gone", "faults"),
    [
        ({"name": ""}, (), [NAME_FAULT]),
        ({"scopes": ()}, (), ["at least one scope is needed, for example system/*.cruds"]),
        ({"fhir_client_id": ""}, (), [TOGETHER_FAULT]),
        ({"fhir_token_url": "", "fhir_client_id": ""}, (), [SCOPE_ALONE_FAULT]),
        ({"fhir_endpoint": "http://h.example/"}, (), [f"the FHIR endpoint {URL_FAULT}"]),
        ({"jwks": NEW_JWKS, "jwks_url": NEW_URL}, (), ["either a JWKS or a JWKS URL is registered, not both"]),
        ({}, ("US", "MR", "CT"), [f"the AE title {title} is not one of its own" for title in ("MR", "US")]),
        ({"name": ""}, ("US",), ["the AE title US is not one of its own", NAME_FAULT]),
    ],
)  # fmt: skip
def test_a_change_to_what_could_not_work_is_refused_as_a_whole(services, given, gone, faults):
    add_partner(services, WHOLE)
    with pytest.raises(InvalidContent) as refused:
        change_partner(services, "hospital-a", given, gone)
    assert [issue.text for issue in refused.value.issues] == faults
    assert str(refused.value) == f"The partner was not changed: {'; '.join(faults)}."
    with services.database.reading() as session:
        assert partners.get(session, "hospital-a") == WHOLE
        assert [row.action for row in session.query(AuditRow)] == ["add-partner"]


def test_an_ae_title_of_another_partner_is_not_taken_from_it(services):
    add_partner(services, WHOLE)
    other = add_partner(services, replace(GOOD, id="hospital-b"))
    with pytest.raises(Conflict, match=r"^AE title PACS belongs to a partner already\.$"):
        change_partner(services, "hospital-b", {}, aes={"PACS": {}})
    with services.database.reading() as session:
        assert partners.get(session, "hospital-b") == other
        assert partners.get(session, "hospital-a") == WHOLE


def test_a_partner_that_is_not_registered_is_not_changed(services):
    with pytest.raises(NotFound, match=r"^No partner nobody\.$"):
        change_partner(services, "nobody", {"name": "Nobody"})


def test_two_changes_at_once_are_both_kept(services):
    add_partner(services, WHOLE)
    given = [{"name": "Hospital Z"}, {"scopes": ("system/Task.r",)}, {"fhir_client_id": "right"}]
    with ThreadPoolExecutor() as operators:
        list(operators.map(lambda fields: change_partner(services, "hospital-a", fields), given))
    with services.database.reading() as session:
        kept = partners.get(session, "hospital-a")
    assert kept == replace(WHOLE, name="Hospital Z", scopes=("system/Task.r",), fhir_client_id="right")


# Disabling a partner


def test_a_disabled_partner_stays_registered_and_comes_back_as_it_was(services):
    kept = add_partner(services, WHOLE)
    for act, disabled in ((disable_partner, True), (disable_partner, True), (enable_partner, False)):
        act(services, "hospital-a")
        with services.database.reading() as session:
            assert partners.get(session, "hospital-a") == replace(kept, disabled=disabled)
    with services.database.reading() as session:
        rows = session.query(AuditRow).order_by(AuditRow.id).all()
    acts = ["add-partner", "disable-partner", "disable-partner", "enable-partner"]
    assert [row.action for row in rows] == acts
    assert {(row.actor, row.subject) for row in rows} == {("user:operator", "partner:hospital-a")}


def test_changing_a_disabled_partner_lets_it_in_no_more(services):
    add_partner(services, WHOLE)
    disable_partner(services, "hospital-a")
    assert change_partner(services, "hospital-a", {"name": "Hospital Z"}).disabled


@pytest.mark.parametrize("act", [disable_partner, enable_partner])
def test_a_partner_that_is_not_registered_is_neither_disabled_nor_enabled(services, act):
    with pytest.raises(NotFound, match=r"^No partner nobody\.$"):
        act(services, "nobody")


@pytest.mark.parametrize("dev", [False, True])
def test_the_aes_of_a_disabled_partner_are_refused(tmp_path, dev):
    services = migrated_services(tmp_path, dev=dev)
    add_partner(services, WHOLE)
    disable_partner(services, "hospital-a")
    with pytest.raises(UnknownSender, match="belongs to a partner that is disabled"):
        authenticate_ae(services, Caller("PACS"))


def test_in_development_partner_demo_may_be_disabled_too(tmp_path):
    services = migrated_services(tmp_path, dev=True)
    authenticate_ae(services, Caller("STORESCU"))
    disable_partner(services, DEMO_PARTNER_ID)
    with pytest.raises(UnknownSender, match=r"^Partner demo is disabled\.$"):
        authenticate_ae(services, Caller("STORESCU"))


# Staff


@pytest.mark.parametrize(
    ("login", "name", "password", "roles", "faults"),
    [
        ("", "Ines", "correct horse intake", ["intake"], [LOGIN_FAULT]),
        ("ines intake", "Ines", "correct horse intake", ["intake"], [LOGIN_FAULT]),
        ("ines", "", "correct horse intake", ["intake"], [NAME_FAULT]),
        ("ines", "Ines", "short", ["intake"], [PASSWORD_FAULT]),
        ("ines", "Ines", "correct horse intake", [], [ROLE_FAULT]),
        ("ines", "Ines", "correct horse intake", ["system"], [ROLE_FAULT]),
        ("ines", "", "", [], [NAME_FAULT, ROLE_FAULT, PASSWORD_FAULT]),
    ],
)  # fmt: skip
def test_a_user_that_could_not_work_is_refused(untouched, login, name, password, roles, faults):
    with pytest.raises(InvalidContent) as refused:
        add_user(untouched, login, name, password, roles)
    assert [issue.text for issue in refused.value.issues] == faults
    assert str(refused.value) == f"The user was not added: {'; '.join(faults)}."


def test_a_login_is_given_once_in_whatever_case(services):
    add_user(services, "ines", "Ines", "correct horse intake", ["intake"])
    with pytest.raises(Conflict, match=r"^User ines exists already\.$"):
        add_user(services, "INES", "Another", "correct horse another", ["intake"])


# DICOM peers


def test_a_calling_ae_is_the_partner_that_it_is_registered_for(services):
    for partner_id, title in (("hospital-a", "PACS_A"), ("hospital-b", "PACS_B")):
        add_partner(services, replace(GOOD, id=partner_id, application_entities=(ApplicationEntity(title),)))
    for calling, expected in ((" PACS_A ", "hospital-a"), ("PACS_B", "hospital-b")):
        assert authenticate_ae(services, Caller(calling)).id == expected


@pytest.mark.parametrize(
    ("calling", "text"),
    [
        ("STRANGER", "The calling AE title is not registered for any partner."),
        ("pacs", "The calling AE title is not registered for any partner."),
        ("PA\0CS", "The calling AE title is not registered for any partner."),
        ("", "The calling AE title is not registered for any partner."),
    ],
)
def test_an_unknown_ae_is_refused(services, calling, text):
    add_partner(services, replace(GOOD, application_entities=(ApplicationEntity("PACS"),)))
    with pytest.raises(UnknownSender) as refused:
        authenticate_ae(services, Caller(calling))
    assert str(refused.value) == text


def test_in_development_an_unknown_ae_is_partner_demo_and_a_known_one_itself(tmp_path):
    services = migrated_services(tmp_path, dev=True)
    add_partner(services, replace(GOOD, application_entities=(ApplicationEntity("PACS"),)))
    assert authenticate_ae(services, Caller("STORESCU")).id == DEMO_PARTNER_ID
    assert authenticate_ae(services, Caller("PACS")).id == "hospital-a"


@pytest.mark.parametrize(
    ("registered", "address", "admitted"),
    [
        ({"addresses": ("10.1.2.0/24",)}, "10.1.2.200", True),
        ({"addresses": ("10.1.2.0/24",)}, "::ffff:10.1.2.200", True),
        ({"addresses": ("10.1.2.0/24",)}, "10.1.3.1", False),
        ({"addresses": ("10.1.2.0/24", "2001:db8::7")}, "2001:db8::7", True),
        ({"addresses": ("10.1.2.0/24", "2001:db8::7")}, "2001:db8::8", False),
        ({"addresses": ("10.1.2.0/24",)}, "", False),
        ({"host": "127.0.0.1", "port": 104}, "127.0.0.1", True),
        ({"host": "localhost", "port": 104}, "127.0.0.1", True),
        ({"host": "127.0.0.1", "port": 104}, "127.0.0.2", False),
        ({"host": "pacs.invalid", "port": 104}, "127.0.0.1", False),
        ({"host": "127.0.0.1", "port": 104, "addresses": ("10.1.2.0/24",)}, "127.0.0.1", False),
    ],
)
def test_a_calling_ae_must_come_from_its_registered_address(services, registered, address, admitted):
    add_partner(services, replace(GOOD, application_entities=(ApplicationEntity("PACS", **registered),)))
    caller = Caller("PACS", address=address)
    if admitted:
        assert authenticate_ae(services, caller).id == "hospital-a"
    else:
        with pytest.raises(UnknownSender, match="registered for another network address"):
            authenticate_ae(services, caller)


FINGERPRINT = f"sha256:{'ab' * 32}"


@pytest.mark.parametrize(
    ("registered", "shown", "admitted"),
    [
        (FINGERPRINT, Certificate(FINGERPRINT, "CN=pacs"), True),
        ("CN=pacs", Certificate(FINGERPRINT, "CN=pacs"), True),
        ("CN=pacs", Certificate(FINGERPRINT, "CN=pacs,O=Other"), False),
        (f"sha256:{'cd' * 32}", Certificate(FINGERPRINT, "CN=pacs"), False),
        (FINGERPRINT, None, False),
    ],
)
def test_a_calling_ae_must_have_its_registered_certificate(services, registered, shown, admitted):
    entity = ApplicationEntity("PACS", certificate=registered)
    add_partner(services, replace(GOOD, application_entities=(entity,)))
    caller = Caller("PACS", certificate=shown)
    if admitted:
        assert authenticate_ae(services, caller).id == "hospital-a"
    else:
        with pytest.raises(UnknownSender, match="registered with another certificate"):
            authenticate_ae(services, caller)


def test_a_calling_ae_may_have_a_title_of_its_own_for_the_gateway(services):
    entities = (ApplicationEntity("CT"), ApplicationEntity("PACS", called_ae_title="OPINIONS"))
    add_partner(services, replace(GOOD, application_entities=entities))
    for title, called, admitted in (
        ("CT", "GATEWAY", True),
        ("CT", "OPINIONS", False),
        ("PACS", "OPINIONS", True),
        ("PACS", "GATEWAY", False),
    ):
        assert known_ae(services, Caller(title)).may_call(called, "GATEWAY") is admitted
