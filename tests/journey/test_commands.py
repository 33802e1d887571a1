"""The operator's commands, as a shell runs them."""

import hashlib
import json
import sqlite3
import ssl
from contextlib import closing
from pathlib import Path

import pytest

from gateway.fhir.xml_format import to_xml
from tests.support.bundles import FhirClient, referral, wait_for
from tests.support.certificate import self_signed
from tests.support.gateway_process import INTAKE, GatewayProcess
from tests.support.partner import Partner

ANY_AE = {"called_ae_title": "", "addresses": [], "certificate": "", "tls": False}


@pytest.fixture(scope="module")
def operator() -> GatewayProcess:
    """A data folder with all tables; nothing runs on it."""
    gateway = GatewayProcess()
    gateway.command("migrate")
    return gateway


def refused(operator: GatewayProcess, *arguments: str, stdin: str = "") -> tuple[int, str]:
    done = operator.command(*arguments, stdin=stdin, check=False)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_a_partner_is_registered_listed_and_shown(operator: GatewayProcess) -> None:
    partner = operator.add_partner(
        "north",
        name="Hospital North",
        assigning_authority="urn:oid:1.2.3",
        options=("--ae", "NORTH_CT@pacs.north.example:11112", "--ae", "NORTH_US", "--scope", "system/*.rs"),
    )
    assert operator.command("partner", "list").stdout == "north\tHospital North\tNORTH_CT, NORTH_US\n"
    shown = json.loads(operator.command("partner", "show", "north").stdout)
    assert shown["jwks"] == partner.jwks()
    assert shown["assigning_authority"] == "urn:oid:1.2.3"
    assert shown["scopes"] == ["system/*.rs"]
    assert shown["application_entities"] == [
        ANY_AE | {"ae_title": "NORTH_CT", "host": "pacs.north.example", "port": 11112},
        ANY_AE | {"ae_title": "NORTH_US", "host": "", "port": 0},
    ]


def test_a_partner_is_registered_with_its_token_endpoint(operator: GatewayProcess) -> None:
    operator.add_partner(
        "tokens",
        options=(
            *(
                "--fhir-endpoint",
                "https://south.example/fhir",
                "--fhir-token-url",
                "https://south.example/token",
            ),
            *("--fhir-client-id", "so", "--fhir-scope", "system/*.c", "--fhir-scope", "system/*.s"),
        ),
    )
    shown = json.loads(operator.command("partner", "show", "tokens").stdout)
    assert shown["fhir_token_url"] == "https://south.example/token"
    assert shown["fhir_client_id"] == "so"
    assert shown["fhir_scopes"] == ["system/*.c", "system/*.s"]


def test_a_partner_is_registered_with_where_its_images_are(operator: GatewayProcess, tmp_path: Path) -> None:
    login = tmp_path / "login"
    login.write_text("gateway:s3cret\n")
    places = ("--dicomweb", "https://pacs.example/dicom-web", "--dicomweb", "1.2.3.4=https://b.example/rs")
    operator.add_partner("archived", options=(*places, "--dicomweb-login", str(login)))
    shown = json.loads(operator.command("partner", "show", "archived").stdout)
    assert shown["dicomweb_endpoints"] == [
        {"url": "https://pacs.example/dicom-web", "location_uid": ""},
        {"url": "https://b.example/rs", "location_uid": "1.2.3.4"},
    ]
    assert shown["dicomweb_login"] == "(registered)"
    token = ("--dicomweb-token-url", "https://a.example/token", "--dicomweb-client-id", "so")
    assert refused(operator, "partner", "change", "archived", *token) == (
        1,
        "gateway: The partner was not changed: either a token URL or a login is registered for DICOMweb, not both.\n",
    )
    login.write_text("")
    operator.command("partner", "change", "archived", *token, "--dicomweb-login", str(login))
    shown = json.loads(operator.command("partner", "show", "archived").stdout)
    assert (shown["dicomweb_login"], shown["dicomweb_client_id"]) == ("", "so")
    nothing = ("--dicomweb", "", "--dicomweb-token-url", "", "--dicomweb-client-id", "")
    operator.command("partner", "change", "archived", *nothing)
    shown = json.loads(operator.command("partner", "show", "archived").stdout)
    assert (shown["dicomweb_endpoints"], shown["dicomweb_token_url"]) == ([], "")


def test_a_token_endpoint_without_a_client_id_is_refused(operator: GatewayProcess) -> None:
    wanted = ("--fhir-endpoint", "https://h.example/fhir", "--fhir-token-url", "https://h.example/token")
    code, said = refused(operator, "partner", "add", "half", "--name", "Half", *wanted)
    assert code == 1
    assert "the token URL and the client id are registered together or not at all" in said


def test_what_is_given_of_a_partner_changes_and_the_rest_stays(operator: GatewayProcess) -> None:
    operator.add_partner(
        "moving",
        ae_title="OLD_CT",
        options=("--ae", "PACS@pacs.example:104", "--fhir-endpoint", "https://h.example/fhir"),
    )
    before = json.loads(operator.command("partner", "show", "moving").stdout)
    said = operator.command(
        *("partner", "change", "moving", "--name", "Hospital Moving", "--scope", "system/*.rs"),
        *("--remove-ae", "OLD_CT", "--ae", "NEW_CT", "--ae", "PACS@other.example:11112"),
        *("--fhir-endpoint", "https://h.example/r4"),
    )
    assert said.stdout == "Partner moving is changed.\n"
    assert json.loads(operator.command("partner", "show", "moving").stdout) == before | {
        "name": "Hospital Moving",
        "scopes": ["system/*.rs"],
        "fhir_endpoint": "https://h.example/r4",
        "application_entities": [
            ANY_AE | {"ae_title": "NEW_CT", "host": "", "port": 0},
            ANY_AE | {"ae_title": "PACS", "host": "other.example", "port": 11112},
        ],
    }


def test_an_ae_is_set_by_and_by(operator: GatewayProcess, tmp_path: Path) -> None:
    operator.add_partner("peers", ae_title="CT")
    certificate = self_signed(tmp_path, "pacs.example").path
    said = operator.command(
        *(
            "partner",
            "set-ae",
            "peers",
            "PEERS_PACS",
            "--address",
            "127.0.0.1:104",
            "--called",
            "OPINIONS",
            "--tls",
        ),
        *("--from", "10.0.0.0/8", "--from", "127.0.0.1", "--certificate", str(certificate)),
    )
    assert said.stdout == "AE PEERS_PACS of partner peers is registered.\n"
    registered = {
        "ae_title": "PEERS_PACS",
        "host": "127.0.0.1",
        "port": 104,
        "called_ae_title": "OPINIONS",
        "addresses": ["10.0.0.0/8", "127.0.0.1"],
        "certificate": f"sha256:{_fingerprint(certificate)}",
        "tls": True,
    }
    assert _shown_aes(operator, "peers")[1] == registered
    operator.command(
        "partner", "set-ae", "peers", "PEERS_PACS", "--no-tls", "--from", "", "--certificate", ""
    )
    changed = registered | {"tls": False, "addresses": [], "certificate": ""}
    assert _shown_aes(operator, "peers") == [ANY_AE | {"ae_title": "CT", "host": "", "port": 0}, changed]
    operator.command(
        "partner", "change", "peers", "--ae", "PEERS_PACS@other.example:105", "--remove-ae", "CT"
    )
    assert _shown_aes(operator, "peers") == [changed | {"host": "other.example", "port": 105}]


def test_a_fingerprint_is_taken_as_openssl_prints_it(operator: GatewayProcess) -> None:
    operator.add_partner("printed", ae_title="US")
    operator.command("partner", "set-ae", "printed", "US", "--certificate", ":".join(["AB"] * 32))
    assert _shown_aes(operator, "printed")[0]["certificate"] == f"sha256:{'ab' * 32}"


def _shown_aes(operator: GatewayProcess, partner_id: str) -> list[dict[str, object]]:
    shown = json.loads(operator.command("partner", "show", partner_id).stdout)
    return sorted(shown["application_entities"], key=lambda ae: ae["ae_title"])


def _fingerprint(certificate: Path) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()


def test_an_empty_value_takes_away_what_may_be_missing(operator: GatewayProcess) -> None:
    token = ("--fhir-token-url", "https://h.example/token", "--fhir-client-id", "so")
    operator.add_partner(
        "emptied",
        options=("--fhir-endpoint", "https://h.example/fhir", *token, "--fhir-scope", "system/*.c"),
    )
    operator.command("partner", "change", "emptied", "--fhir-scope", "")
    shown = json.loads(operator.command("partner", "show", "emptied").stdout)
    assert (shown["fhir_scopes"], shown["fhir_client_id"]) == ([], "so")
    code, said = refused(operator, "partner", "change", "emptied", "--scope", "", "--fhir-client-id", "")
    assert code == 1
    assert "at least one scope is needed" in said
    assert "the token URL and the client id are registered together" in said
    assert json.loads(operator.command("partner", "show", "emptied").stdout) == shown


def test_a_change_of_nothing_or_of_nobody_is_said_in_one_line(operator: GatewayProcess) -> None:
    operator.add_partner("unchanged")
    code, said = refused(operator, "partner", "change", "unchanged")
    assert (code, said.splitlines()[-1]) == (2, "Error: say what is to be changed")
    for arguments in (("change", "nobody", "--name", "Nobody"), ("disable", "nobody"), ("enable", "nobody")):
        assert refused(operator, "partner", *arguments) == (1, "gateway: No partner nobody.\n")


def test_a_disabled_partner_is_listed_as_such(operator: GatewayProcess) -> None:
    operator.add_partner("paused", name="Hospital Paused", ae_title="PAUSED")
    line = "paused\tHospital Paused\tPAUSED"
    for act, expected in (("disable", f"{line}\tdisabled"), ("enable", line)):
        assert operator.command("partner", act, "paused").stdout == f"Partner paused is {act}d.\n"
        assert expected in operator.command("partner", "list").stdout.splitlines()


def test_a_partner_is_registered_once(operator: GatewayProcess) -> None:
    operator.add_partner("twice")
    code, said = refused(operator, "partner", "add", "twice", "--name", "Other")
    assert code == 1
    assert said == "gateway: Partner twice is registered already.\n"


@pytest.mark.parametrize("ae", ["PACS@host", "PACS@:104", "PACS@host:port"])
def test_an_application_entity_with_half_an_address_is_refused(operator: GatewayProcess, ae: str) -> None:
    code, said = refused(operator, "partner", "add", "half", "--name", "Half", "--ae", ae)
    assert code == 2
    assert "TITLE@HOST:PORT" in said


def test_a_user_is_added_with_a_password_from_standard_input(operator: GatewayProcess) -> None:
    operator.add_user(INTAKE)
    code, said = refused(
        *(operator, "user", "add", INTAKE.login, "--name", "Other", "--role", "intake", "--password-stdin"),
        stdin="another good password\n",
    )
    assert code == 1
    assert "exists already" in said


def test_a_bad_password_is_refused_and_not_repeated(operator: GatewayProcess) -> None:
    code, said = refused(
        *(operator, "user", "add", "weak", "--name", "Weak", "--role", "intake", "--password-stdin"),
        stdin="hunter2\n",
    )
    assert code == 1
    assert "password" in said
    assert "hunter2" not in said


def test_a_case_that_is_not_there_is_said_in_one_line(operator: GatewayProcess) -> None:
    assert operator.command("case", "list").stdout == ""
    code, said = refused(operator, "case", "show", "SO-00000000", "--json")
    assert code == 1
    assert said.startswith("gateway: No case SO-00000000")


def test_after_a_rule_has_changed_cases_are_looked_at_again_and_what_changes_is_told(
    gateway: GatewayProcess, partner: Partner
) -> None:
    """As if the rule had had another name when the case was looked at."""
    sent = referral(practitioner=None)
    del sent["entry"][1]["resource"]["requester"]
    case_id = FhirClient(gateway, partner).open_case(sent)
    found = wait_for(lambda: findings_of(gateway, case_id))
    assert found["no-reachable-physician"] == "open"
    assert gateway.command("case", "recheck", case_id).stdout == "1 looked at, 0 changed.\n"
    with closing(sqlite3.connect(gateway.data_dir / "gateway.sqlite")) as database, database:
        database.execute(
            "UPDATE finding SET key = 'old', \"check\" = 'old' WHERE \"check\" = ? AND case_id = ?",
            ("no-reachable-physician", case_id),
        )
    opened, closed, count = gateway.command("case", "recheck", case_id).stdout.splitlines()
    assert opened.startswith(f"{case_id}  open     blocks   ")
    assert closed.startswith(f"{case_id}  resolved blocks   ")
    assert count == "1 looked at, 1 changed."
    assert {"no-reachable-physician": "open", "old": "resolved"}.items() <= findings_of(
        gateway, case_id
    ).items()


def findings_of(gateway: GatewayProcess, case_id: str) -> dict[str, str]:
    """The state of each check's finding."""
    case = json.loads(gateway.command("case", "show", case_id, "--json").stdout)
    return {held["finding"]["check"]: held["state"] for held in case["findings"]}


def test_of_a_case_that_is_not_there_nothing_is_looked_at(operator: GatewayProcess) -> None:
    assert operator.command("case", "recheck").stdout == "0 looked at, 0 changed.\n"
    code, said = refused(operator, "case", "recheck", "SO-00000000")
    assert (code, said.startswith("gateway: No case SO-00000000")) == (1, True)


def test_files_are_checked_without_a_gateway_and_nothing_is_kept(tmp_path: Path) -> None:
    sound, faulty = tmp_path / "sound.json", tmp_path / "faulty.xml"
    sound.write_text(json.dumps(referral()))
    faulty.write_bytes(to_xml({"resourceType": "Patient", "gender": "girl"}))
    nowhere = GatewayProcess(
        environment={"GATEWAY_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/none"}
    )
    done = nowhere.command("check", str(sound), check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a case would be opened" in done.stdout
    done = nowhere.command("check", str(sound), str(faulty), check=False)
    assert done.returncode == 1
    assert "  error  Patient.gender: " in done.stdout
    assert not nowhere.data_dir.exists() or not any(nowhere.data_dir.iterdir())


def test_a_file_is_checked_beside_what_its_sender_has_sent(operator: GatewayProcess, tmp_path: Path) -> None:
    operator.add_partner("checks")
    file = tmp_path / "referral.json"
    file.write_text(json.dumps(referral()))
    assert "a case would be opened" in operator.command("check", "--partner", "checks", str(file)).stdout
    assert operator.command("case", "list").stdout == ""
    code, said = refused(operator, "check", "--partner", "nobody", str(file))
    assert (code, said.splitlines()) == (1, ["gateway: No partner nobody."])


def test_a_folder_without_tables_is_said_in_one_line() -> None:
    code, said = refused(GatewayProcess(), "partner", "list")
    assert code == 1
    assert len(said.splitlines()) == 1


def test_an_option_wins_over_the_environment() -> None:
    gateway = GatewayProcess(
        environment={"GATEWAY_HTTP_PORT": "not a port"}, options=("--host", "0.0.0.0"), dev=True
    )
    gateway.launch()
    assert gateway.wait() == 2
    assert "loopback" in gateway.log_text
