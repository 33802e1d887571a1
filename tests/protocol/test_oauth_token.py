"""POST /oauth/token: SMART Backend Services (SMART App Launch 2.2.0), and what its tokens open."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
import requests
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from flask import Flask, jsonify, request
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from pydantic import SecretStr

from gateway.auth import routes
from gateway.auth.accounts import add_partner, change_partner, disable_partner, enable_partner
from gateway.auth.bearer import authenticate_partner, challenge
from gateway.errors import Unauthenticated
from gateway.services import Services, build_services
from gateway.store import partners
from gateway.store.partners import DEMO_PARTNER_ID, Registration
from gateway.store.tables import AuditRow, PartnerRow
from tests.support.certificate import self_signed
from tests.support.gateway_process import free_port
from tests.support.in_process import WebSite, migrated_services, serving

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class Client:
    """A partner's software: its key, and the token endpoint that it calls."""

    id: str
    token_url: str
    algorithm: str = "ES384"
    kid: str = "key-1"
    key: ECKey | RSAKey | None = None

    def __post_init__(self) -> None:
        parameters = {"kid": self.kid, "use": "sig"}
        if self.key is None and self.algorithm == "RS384":
            self.key = RSAKey.generate_key(2048, parameters=parameters, auto_kid=False)
        elif self.key is None:
            self.key = ECKey.generate_key("P-384", parameters=parameters, auto_kid=False)

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [self.key.as_dict(private=False)]}

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": self.id,
            "sub": self.id,
            "aud": self.token_url,
            "iat": now,
            "exp": now + 240,
            "jti": str(uuid4()),
        }
        return {name: value for name, value in (claims | changed).items() if value is not ...}

    def assertion(self, header: dict[str, Any] | None = None, key: Any = None, **changed: Any) -> str:
        """Claims and header as they should be, but for what is changed; ``...`` leaves a claim out."""
        said = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid} | (header or {})
        said = {name: value for name, value in said.items() if value is not ...}
        registry = jws.JWSRegistry(algorithms=[said["alg"]], strict_check_header=False)
        return jwt.encode(said, self.claims(**changed), key or self.key, registry=registry)

    def form(self, assertion: str = "", scope: str | None = "system/*.rs", **changed: str) -> dict[str, str]:
        filled = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion or self.assertion(),
        }
        return filled | ({} if scope is None else {"scope": scope}) | changed

    def ask(
        self, assertion: str = "", scope: str | None = "system/*.rs", **changed: str
    ) -> requests.Response:
        return requests.post(self.token_url, data=self.form(assertion, scope, **changed), timeout=10)

    def token(self, scope: str = "system/*.rs") -> str:
        response = self.ask(scope=scope)
        assert response.status_code == 200, response.text
        return str(response.json()["access_token"])


@dataclass
class House:
    """The auth endpoints over HTTP, and a door /who that tells which partner knocks."""

    services: Services
    clients: dict[str, Client] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return self.services.config.base_url

    def register(self, client_id: str, *, algorithm: str = "ES384", **registered: Any) -> Client:
        client = Client(client_id, f"{self.base_url}/oauth/token", algorithm)
        registration = Registration(
            client_id, f"Hospital {client_id}", **({"jwks": client.jwks} | registered)
        )
        add_partner(self.services, registration)
        self.clients[client_id] = client
        return client

    def who(self, authorization: str | None) -> requests.Response:
        headers = {} if authorization is None else {"Authorization": authorization}
        return requests.get(f"{self.base_url}/who", headers=headers, timeout=10)


def _app(services: Services) -> Flask:
    app = Flask("auth-under-test")
    app.register_blueprint(routes.blueprint(services))

    @app.get("/who")
    def who():
        partner = authenticate_partner(services, request.headers, request.remote_addr)
        return jsonify(partner=partner.id, scopes=partner.scopes)

    @app.errorhandler(Unauthenticated)
    def refuse(error: Unauthenticated):
        return jsonify(text=error.message), 401, {"WWW-Authenticate": challenge(request.headers)}

    return app


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    services = migrated_services(tmp_path_factory.mktemp("oauth"), http_port=free_port())
    with serving(_app(services), services.config.http_port):
        house = House(services)
        house.register("hospital-a", scopes=("system/*.cruds",))
        house.register("hospital-b", scopes=("system/Patient.rs",))
        yield house


@pytest.fixture(scope="module")
def client(house) -> Client:
    return house.clients["hospital-a"]


def _refused(response: requests.Response) -> str:
    """The description of a refusal whose form is RFC 6749 5.2."""
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert set(response.json()) == {"error", "error_description"}
    assert response.status_code == (401 if response.json()["error"] == "invalid_client" else 400)
    assert ("WWW-Authenticate" in response.headers) == (response.status_code == 401)
    return f"{response.json()['error']}: {response.json()['error_description']}"


# The token


def test_a_signed_assertion_buys_a_token_of_five_minutes(client):
    response = client.ask(scope="system/*.rs")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    answer = response.json()
    assert answer.pop("access_token")
    assert answer == {"token_type": "Bearer", "expires_in": 300, "scope": "system/*.rs"}


def test_the_token_is_a_jwt_as_rfc_9068_says_signed_with_the_published_key(house, client):
    token = client.token("system/Patient.rs")
    keys = requests.get(f"{house.base_url}/oauth/jwks", timeout=10).json()["keys"]
    [published] = [key for key in keys if key["alg"] == "ES256"]
    decoded = jwt.decode(token, ECKey.import_key(published), algorithms=["ES256"])
    assert decoded.header == {"typ": "at+jwt", "alg": "ES256", "kid": published["kid"]}
    claims = decoded.claims
    assert claims.pop("exp") - claims.pop("iat") == 300
    assert claims.pop("jti")
    assert claims == {
        "iss": house.base_url,
        "aud": house.base_url,
        "sub": "hospital-a",
        "client_id": "hospital-a",
        "scope": "system/Patient.rs",
    }


def test_the_published_keys_are_public_only(house):
    keys = requests.get(f"{house.base_url}/oauth/jwks", timeout=10).json()["keys"]
    assert [set(key) for key in keys] == [{"kty", "crv", "x", "y", "kid", "use", "alg"}] * 2


def test_an_rsa_key_buys_a_token_by_rs384(house):
    client = house.register("hospital-rsa", algorithm="RS384")
    assert house.who(f"Bearer {client.token()}").json()["partner"] == "hospital-rsa"


def test_an_unknown_header_parameter_and_a_list_of_audiences_are_no_obstacle(client):
    chain = ["MIIB" + "A" * 2000]
    assertion = client.assertion(
        {"x5c": chain, "vendor": "x"}, aud=["https://other.example", client.token_url]
    )
    assert client.ask(assertion).status_code == 200


def test_clocks_may_be_half_a_minute_apart(client):
    now = time.time()
    assert client.ask(client.assertion(exp=now + 320, iat=now + 20)).status_code == 200
    assert client.ask(client.assertion(exp=now - 20, iat=now - 300)).status_code == 200


def test_each_token_is_in_the_audit_trail(house, client):
    client.token()
    with house.services.database.reading() as session:
        last = session.query(AuditRow).order_by(AuditRow.id.desc()).first()
    assert (last.actor, last.action, last.channel) == ("partner:hospital-a", "authenticate", "oauth")
    assert last.address == "127.0.0.1"


# The scope


def test_the_granted_scope_is_the_registered_part_of_what_was_asked(house):
    response = house.clients["hospital-b"].ask(scope="system/*.cruds system/Task.c openid")
    assert response.json()["scope"] == "system/Patient.rs"
    token = response.json()["access_token"]
    assert house.who(f"Bearer {token}").json()["scopes"] == ["system/Patient.rs"]


def test_a_scope_in_the_spelling_of_version_1_is_granted(client):
    assert (
        client.ask(scope="system/*.read system/Task.write").json()["scope"]
        == "system/*.read system/Task.write"
    )


def test_a_scope_that_is_not_registered_is_refused_and_tells_what_is(house):
    assert _refused(house.clients["hospital-b"].ask(scope="system/Task.c user/*.rs")) == (
        "invalid_scope: None of the asked scopes is registered for this client; registered are system/Patient.rs."
    )


@pytest.mark.parametrize("scope", [None, "", "   ", "system/Patient.r " * 300])
def test_a_missing_or_endless_scope_is_refused(client, scope):
    assert _refused(client.ask(scope=scope)) == (
        "invalid_scope: The parameter scope is missing or too long; ask for example system/*.rs."
    )


# The assertion


def test_an_assertion_for_another_audience_is_refused(client):
    other = "https://other.example/token"
    assert _refused(client.ask(client.assertion(aud=other))) == (
        f"invalid_client: aud is '{other}'; expected is the token endpoint {client.token_url}."
    )
    assert _refused(client.ask(client.assertion(aud=...))) == (
        f"invalid_client: aud is missing; expected is the token endpoint {client.token_url}."
    )
    assert _refused(client.ask(client.assertion(aud=[other]))) == (
        f"invalid_client: aud is ['{other}']; expected is the token endpoint {client.token_url}."
    )


def test_an_assertion_that_lives_too_long_is_refused(client):
    text = _refused(client.ask(client.assertion(exp=int(time.time()) + 3600)))
    assert text in {
        f"invalid_client: exp is too far: {seconds} seconds ahead of now; allowed are 300."
        for seconds in (3599, 3600)
    }


def test_an_assertion_that_has_expired_is_refused(client):
    text = _refused(client.ask(client.assertion(exp=int(time.time()) - 60)))
    assert text in {f"invalid_client: exp has passed {seconds} seconds ago." for seconds in (60, 61)}


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_an_assertion_from_the_future_is_refused(client, claim):
    text = _refused(client.ask(client.assertion(**{claim: int(time.time()) + 120})))
    assert text in {f"invalid_client: {claim} is {seconds} seconds in the future." for seconds in (119, 120)}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"exp": ...}, "exp is missing: the time in seconds since 1970 when the assertion expires."),
        ({"exp": "soon"}, "exp is 'soon'; expected is a number of seconds since 1970."),
        ({"exp": True}, "exp is true; expected is a number of seconds since 1970."),
        ({"exp": float("nan")}, "exp is NaN; expected is a number of seconds since 1970."),
        ({"exp": float("inf")}, "exp is Infinity; expected is a number of seconds since 1970."),
        ({"iat": []}, "iat is []; expected is a number of seconds since 1970."),
        ({"jti": ...}, "jti must be a text of 1 to 255 printable characters, new for each assertion."),
        ({"jti": ""}, "jti must be a text of 1 to 255 printable characters, new for each assertion."),
        ({"jti": 7}, "jti must be a text of 1 to 255 printable characters, new for each assertion."),
        ({"jti": "j" * 256}, "jti must be a text of 1 to 255 printable characters, new for each assertion."),
        ({"jti": "a\0b"}, "jti must be a text of 1 to 255 printable characters, new for each assertion."),
        ({"iss": "nobody", "sub": "nobody"}, "The client 'nobody' (iss and sub) is not registered."),
        ({"iss": "a\0", "sub": "a\0"}, "The client 'a?' (iss and sub) is not registered."),
        ({"iss": ...}, "iss and sub must both be the client id; iss is missing and sub is 'hospital-a'."),
        ({"sub": ...}, "iss and sub must both be the client id; iss is 'hospital-a' and sub is missing."),
        (
            {"sub": "hospital-b"},
            "iss and sub must both be the client id; iss is 'hospital-a' and sub is 'hospital-b'.",
        ),
        ({"iss": 5, "sub": 5}, "iss and sub must both be the client id; iss is 5 and sub is 5."),
    ],
)
def test_a_wrong_claim_is_named(client, changed, text):
    assert _refused(client.ask(client.assertion(**changed))) == f"invalid_client: {text}"


def test_an_exp_beyond_every_number_is_refused(client):
    text = _refused(client.ask(client.assertion(exp=10**400)))
    assert text.startswith("invalid_client: exp is 1000")
    assert text.endswith("; expected is a number of seconds since 1970.")


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ({"kid": ...}, "The header has no kid: it must name the key that signed the assertion."),
        ({"kid": "key-2"}, "The kid 'key-2' names none of the client's registered keys."),
        ({"jku": "https://evil.example/jwks"}, "The header's jku is not the registered JWKS URL."),
    ],
)
def test_a_wrong_header_is_named(client, header, text):
    assert _refused(client.ask(client.assertion(header))) == f"invalid_client: {text}"


def test_an_assertion_signed_with_another_key_is_refused(house, client):
    stranger = ECKey.generate_key("P-384")
    for key in (stranger, house.clients["hospital-b"].key):
        assert _refused(client.ask(client.assertion(key=key))) == (
            "invalid_client: The signature is not one by the registered key with the kid 'key-1'."
        )


def test_a_key_of_another_kind_than_the_algorithm_needs_is_refused(house, client):
    """A true signature by another's RSA key, under the kid of this client's EC key, and the other way round."""
    by_rsa = house.register("hospital-rsa-2", algorithm="RS384")
    for victim, key, algorithm in ((client, by_rsa.key, "RS384"), (by_rsa, client.key, "ES384")):
        assertion = victim.assertion({"alg": algorithm}, key=key)
        assert _refused(victim.ask(assertion)) == (
            "invalid_client: The signature is not one by the registered key with the kid 'key-1'."
        )


def test_a_changed_assertion_is_refused(client):
    head, _, signature = client.assertion().split(".")
    _, payload, _ = client.assertion(jti="another").split(".")
    assert _refused(client.ask(f"{head}.{payload}.{signature}")) == (
        "invalid_client: The signature is not one by the registered key with the kid 'key-1'."
    )


@pytest.mark.filterwarnings("ignore:JWS algorithm")
@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", RSAKey.generate_key(2048)),
        ("PS384", RSAKey.generate_key(2048)),
        ("ES256", ECKey.generate_key("P-256")),
        ("ES512", ECKey.generate_key("P-521")),
        ("HS384", OctKey.generate_key(384)),
        ("none", None),
    ],
)
def test_any_algorithm_but_rs384_and_es384_is_refused(client, algorithm, key):
    assertion = client.assertion({"alg": algorithm}, key=key)
    assert _refused(client.ask(assertion)) == (
        f"invalid_client: The algorithm (alg) '{algorithm}' is not allowed; use RS384 or ES384."
    )


def test_a_public_key_is_no_shared_secret(client):
    """Algorithm confusion: an HMAC keyed with what everybody may read."""
    confused = OctKey.import_key(json.dumps(client.jwks["keys"][0]))
    assertion = client.assertion({"alg": "HS384"}, key=confused)
    assert _refused(client.ask(assertion)).startswith("invalid_client: The algorithm (alg) 'HS384'")


@pytest.mark.parametrize(
    "garbage",
    [
        "x",
        "a.b.c",
        "e30.e30.",
        "...",
        "W10.e30.AA",
        "WyJhbGciXQ.e30.AA",
        "\u00e9.\u00e9.\u00e9",
        "x" * 200_000,
    ],
)
def test_what_is_no_jwt_is_refused(client, garbage):
    assert _refused(client.ask(garbage)).startswith("invalid_client: The ")


def test_a_deeply_nested_assertion_is_refused(client):
    nested = jws.serialize_compact({"alg": "ES384", "kid": "key-1"}, "[" * 10_000, client.key, ["ES384"])
    assert _refused(client.ask(nested)) == "invalid_client: The client assertion's payload is not JSON."


def test_a_client_id_beside_the_assertion_must_be_the_same(client):
    assert client.ask(client_id="hospital-a").status_code == 200
    assert _refused(client.ask(client_id="hospital-b")) == (
        "invalid_client: The parameter client_id is not the iss of the client assertion."
    )


def test_a_partner_without_keys_gets_no_token(house):
    dicom_only = house.register("pacs-only", jwks=None)
    assert _refused(dicom_only.ask()) == "invalid_client: No keys are registered for this client."


# Replay


def test_an_assertion_is_good_for_one_request(client):
    assertion = client.assertion()
    assert client.ask(assertion).status_code == 200
    assert _refused(client.ask(assertion)) == (
        "invalid_client: jti was used before: each assertion is good for one request."
    )


def test_two_partners_may_choose_the_same_jti(house, client):
    jti = str(uuid4())
    assert client.ask(client.assertion(jti=jti)).status_code == 200
    other = house.clients["hospital-b"]
    assert other.ask(other.assertion(jti=jti)).status_code == 200


def test_a_refused_assertion_does_not_use_its_jti_up(client):
    jti = str(uuid4())
    stranger = ECKey.generate_key("P-384")
    assert client.ask(client.assertion(key=stranger, jti=jti)).status_code == 401
    assert client.ask(client.assertion(aud="x", jti=jti)).status_code == 401
    assert client.ask(client.assertion(jti=jti)).status_code == 200


def test_of_an_assertion_sent_twice_at_once_exactly_one_succeeds(client):
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assertion = client.assertion()
            answers = list(pool.map(client.ask, [assertion] * 2))
            assert sorted(answer.status_code for answer in answers) == [200, 401]


def test_another_process_on_the_same_database_knows_what_was_used(house, client):
    assertion = client.assertion()
    assert client.ask(assertion).status_code == 200
    sibling = migrated_services(house.services.config.data_dir, http_port=house.services.config.http_port)
    response = _app(sibling).test_client().post("/oauth/token", data=client.form(assertion))
    assert (response.status_code, response.json["error"]) == (401, "invalid_client")
    assert response.json["error_description"].startswith("jti was used before")


# The form


def test_another_grant_is_refused(client):
    assert _refused(client.ask(grant_type="password")) == (
        "unsupported_grant_type: grant_type=password is not supported"
    )


@pytest.mark.parametrize("dropped", ["client_assertion", "client_assertion_type"])
def test_a_request_without_assertion_is_refused(client, dropped):
    assert _refused(client.ask(**{dropped: ""})) == (
        f"invalid_client: A client_assertion with the client_assertion_type {ASSERTION_TYPE} is needed."
    )


def test_a_request_that_is_no_form_is_refused(client):
    response = requests.post(client.token_url, json={"grant_type": "client_credentials"}, timeout=10)
    assert _refused(response) == "invalid_request: The body must be application/x-www-form-urlencoded."


def test_a_parameter_may_not_stand_twice(client):
    twice = [("grant_type", "client_credentials"), ("scope", "system/*.rs"), ("scope", "system/*.cruds")]
    response = requests.post(client.token_url, data=twice, timeout=10)
    assert _refused(response) == "invalid_request: A parameter stands twice in the request."


def test_parameters_in_the_url_are_not_read(client):
    form = {"grant_type": "client_credentials", "scope": "system/*.rs"}
    in_url = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": client.assertion()}
    response = requests.post(client.token_url, params=in_url, data=form, timeout=10)
    assert _refused(response).startswith("invalid_client: A client_assertion with")
    response = requests.post(client.token_url, params=form, data={"scope": "system/*.rs"}, timeout=10)
    assert _refused(response) == (
        "invalid_request: The parameter grant_type is missing; expected is client_credentials."
    )


# What a token opens


def test_a_token_opens_the_door_for_its_own_partner_only(house, client):
    other = house.clients["hospital-b"]
    tokens = {client.id: client.token(), other.id: other.token()}
    for _ in range(3):
        for partner_id, token in tokens.items():
            assert house.who(f"Bearer {token}").json()["partner"] == partner_id


def test_the_scheme_may_be_in_any_case(house, client):
    assert house.who(f"bearer {client.token()}").status_code == 200


def test_without_credentials_the_door_tells_where_to_get_a_token(house):
    response = house.who(None)
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert response.json()["text"] == (
        f"An access token is needed; get one at {house.base_url}/oauth/token (SMART Backend Services)."
    )


def _signed(house: House, header: dict[str, Any] | None = None, **changed: Any) -> str:
    """A token by the gateway's own key, with something changed that it would never sign."""
    now = int(time.time())
    claims = {
        "iss": house.base_url,
        "aud": house.base_url,
        "sub": "hospital-a",
        "client_id": "hospital-a",
        "scope": "system/*.cruds",
        "iat": now,
        "exp": now + 300,
        "jti": str(uuid4()),
    } | changed
    kept = {name: value for name, value in claims.items() if value is not ...}
    key = house.services.keyring.signing_key()
    return jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": key.kid} | (header or {}), kept, key)


def test_a_token_by_the_own_key_opens_the_door(house):
    """The next test would prove nothing if this one failed."""
    assert house.who(f"Bearer {_signed(house)}").json()["partner"] == "hospital-a"


@pytest.mark.parametrize(
    ("header", "changed", "text"),
    [
        ({}, {"exp": 1_700_000_000}, "The access token has expired; ask for a new one."),
        ({}, {"exp": ...}, "The bearer token is no access token of this gateway."),
        ({}, {"aud": "https://other.example"}, "The bearer token is no access token of this gateway."),
        ({}, {"iss": "https://other.example"}, "The bearer token is no access token of this gateway."),
        ({}, {"scope": ...}, "The bearer token is no access token of this gateway."),
        ({}, {"sub": "nobody"}, "The partner of this access token is registered no more."),
        ({"typ": "JWT"}, {}, "The bearer token is no access token: its typ is not at+jwt."),
        ({"kid": "other"}, {}, "The access token is not signed by this gateway."),
    ],
)
def test_a_token_that_the_gateway_would_not_give_is_refused(house, header, changed, text):
    response = house.who(f"Bearer {_signed(house, header, **changed)}")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert response.json() == {"text": text}


def test_the_key_of_the_gateway_s_own_client_assertions_signs_no_access_token(house):
    key = house.services.keyring.assertion_key()
    claims = jwt.decode(_signed(house), house.services.keyring.signing_key()).claims
    forged = jwt.encode({"alg": "ES384", "typ": "at+jwt", "kid": key.kid}, claims, key, algorithms=["ES384"])
    assert house.who(f"Bearer {forged}").status_code == 401


def test_a_changed_token_is_refused(house, client):
    head, _, signature = client.token().split(".")
    _, payload, _ = _signed(house, sub="hospital-b").split(".")
    response = house.who(f"Bearer {head}.{payload}.{signature}")
    assert response.json() == {"text": "The access token's signature is wrong."}


def test_a_client_assertion_is_no_access_token(house, client):
    response = house.who(f"Bearer {client.assertion()}")
    assert (response.status_code, response.json()) == (
        401,
        {"text": "The bearer token is no access token of this gateway."},
    )


@pytest.mark.parametrize("token", ["x", "a.b.c", "e30.e30.", "WyJhbGciXQ.e30.AA", "x" * 60_000])
def test_garbage_is_no_access_token(house, token):
    assert house.who(f"Bearer {token}").status_code == 401


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic aG9zcGl0YWwtYTp4", "token"])
def test_another_authorization_is_refused(house, header):
    assert house.who(header).json() == {
        "text": "The Authorization header must be: Bearer, a space, the access token."
    }


def test_the_token_of_a_removed_partner_stops(house):
    leaver = house.register("leaver")
    token = leaver.token()
    assert house.who(f"Bearer {token}").status_code == 200
    with house.services.database.transaction() as session:
        session.delete(session.get_one(PartnerRow, "leaver"))
    assert house.who(f"Bearer {token}").json() == {
        "text": "The partner of this access token is registered no more."
    }
    assert _refused(leaver.ask()) == "invalid_client: The client 'leaver' (iss and sub) is not registered."


def test_the_token_and_the_assertions_of_a_disabled_partner_stop_until_it_is_enabled(house):
    paused = house.register("paused")
    token = paused.token()
    disable_partner(house.services, "paused")
    assert house.who(f"Bearer {token}").status_code == 401
    assert _refused(paused.ask()) == "invalid_client: The client 'paused' (iss and sub) is not registered."
    enable_partner(house.services, "paused")
    assert house.who(f"Bearer {token}").status_code == 200
    assert paused.ask().status_code == 200


def test_keys_that_were_replaced_sign_nothing_any_more(house):
    client = house.register("replacing")
    successor = Client("replacing", client.token_url, kid="k2")
    change_partner(house.services, "replacing", {"jwks": successor.jwks})
    assert "names none of the client's registered keys" in _refused(client.ask())
    assert successor.ask().status_code == 200


def test_a_token_allows_no_more_than_is_registered_now(house):
    shrinking = house.register("shrinking", scopes=("system/*.cruds",))
    token = shrinking.token("system/*.cruds")
    change_partner(house.services, "shrinking", {"scopes": ("system/Task.r",)})
    assert house.who(f"Bearer {token}").json()["scopes"] == ["system/Task.r"]


def test_a_token_of_one_process_is_taken_by_another(house, client):
    sibling = migrated_services(house.services.config.data_dir, http_port=house.services.config.http_port)
    partner = authenticate_partner(sibling, {"Authorization": f"Bearer {client.token()}"})
    assert partner.id == "hospital-a"
    assert sibling.keyring.public_keys() == house.services.keyring.public_keys()


# Development


def test_in_development_everybody_without_credentials_is_partner_demo(tmp_path):
    services = migrated_services(tmp_path, dev=True)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: authenticate_partner(services, {}), range(16)))
    assert {(partner.id, partner.scopes) for partner in found} == {(DEMO_PARTNER_ID, ("system/*.cruds",))}


def test_in_development_a_wrong_token_is_refused_all_the_same(tmp_path):
    services = migrated_services(tmp_path, dev=True)
    with pytest.raises(Unauthenticated, match="no access token of this gateway"):
        authenticate_partner(services, {"Authorization": "Bearer x"})


# Keys behind a URL


@pytest.fixture
def site():
    with WebSite() as site:
        yield site


def _published(house: House, site: WebSite, client_id: str) -> Client:
    client = house.register(client_id, jwks=None, jwks_url=site.url)
    site.body = json.dumps(client.jwks).encode()
    return client


def test_keys_are_read_from_the_registered_url_once(house, site):
    client = _published(house, site, "by-url")
    for _ in range(3):
        assert client.ask().status_code == 200
    assert client.ask(client.assertion({"jku": site.url})).status_code == 200
    assert site.requests == 1


def test_keys_are_read_over_tls_from_a_site_whose_certificate_is_trusted(house, tmp_path, monkeypatch):
    certificate = self_signed(tmp_path, "localhost")
    with WebSite(certificate.context) as site:
        client = _published(house, site, "over-tls")
        assert _refused(client.ask()) == (
            "invalid_client: The keys at the registered JWKS URL could not be read: "
            "its TLS certificate is not trusted."
        )
        assert site.requests == 0
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
        trusting = migrated_services(
            house.services.config.data_dir, http_port=house.services.config.http_port
        )
        response = _app(trusting).test_client().post("/oauth/token", data=client.form())
        assert response.status_code == 200, response.json


def test_the_certificate_must_be_for_the_host_that_was_registered(house, tmp_path, monkeypatch):
    certificate = self_signed(tmp_path, "hospital.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    with WebSite(certificate.context) as site:
        client = _published(house, site, "other-host")
        assert _refused(client.ask()).endswith("its TLS certificate is not trusted.")


def test_a_new_key_is_found_once_a_minute_has_passed(house, site, monkeypatch):
    client = _published(house, site, "rotating")
    assert client.ask().status_code == 200
    client.kid, client.key = "key-2", ECKey.generate_key("P-384", parameters={"kid": "key-2"}, auto_kid=False)
    site.body = json.dumps(client.jwks).encode()
    unknown = "invalid_client: The kid 'key-2' names none of the client's registered keys."
    assert [_refused(client.ask()) for _ in range(3)] == [unknown] * 3
    assert site.requests == 1
    monkeypatch.setattr("gateway.auth.keyring.REFETCH_SECONDS", 0.0)
    assert client.ask().status_code == 200
    assert site.requests == 2


def test_keys_that_were_taken_back_are_not_believed_longer_than_the_site_says(house, site, monkeypatch):
    monkeypatch.setattr("gateway.auth.jwks_client.MIN_AGE_SECONDS", 0)
    site.headers = {"Cache-Control": "max-age=0"}
    client = _published(house, site, "revoking")
    assert client.ask().status_code == 200
    site.body = b'{"keys": []}'
    assert (
        _refused(client.ask())
        == "invalid_client: The kid 'key-1' names none of the client's registered keys."
    )


@pytest.mark.parametrize(
    ("status", "headers", "body", "reason"),
    [
        (503, {}, b"", "it answered 503 where 200 was expected; redirects are not followed"),
        (
            302,
            {"Location": "/jwks.json"},
            b"",
            "it answered 302 where 200 was expected; redirects are not followed",
        ),
        (200, {}, b"<html>", "it did not answer with JSON"),
        (200, {}, b" " * (256 * 1024 + 1), "it is larger than 256 KiB"),
    ],
)
def test_keys_that_cannot_be_read_are_told_and_not_asked_for_at_once_again(
    house, site, status, headers, body, reason
):
    client = _published(house, site, f"broken-{uuid4()}")
    site.status, site.headers, site.body = status, headers, body
    expected = f"invalid_client: The keys at the registered JWKS URL could not be read: {reason}."
    assert [_refused(client.ask()) for _ in range(3)] == [expected] * 3
    assert site.requests == 1


def test_a_site_that_is_away_is_told_and_heard_again_when_it_is_back(house, site, monkeypatch):
    monkeypatch.setattr("gateway.auth.keyring.RETRY_SECONDS", 0.0)
    client = house.register("away", jwks=None, jwks_url=f"http://127.0.0.1:{free_port()}/jwks.json")
    assert _refused(client.ask()) == (
        "invalid_client: The keys at the registered JWKS URL could not be read: it cannot be reached."
    )
    with house.services.database.transaction() as session:
        session.get_one(PartnerRow, "away").jwks_url = site.url
    site.status = 500
    assert client.ask().status_code == 401
    site.status, site.body = 200, json.dumps(client.jwks).encode()
    assert client.ask().status_code == 200


def test_a_site_that_never_answers_is_given_up(house, monkeypatch):
    monkeypatch.setattr("gateway.auth.jwks_client.TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/jwks.json"
        client = house.register("silent", jwks=None, jwks_url=url)
        assert _refused(client.ask()) == (
            "invalid_client: The keys at the registered JWKS URL could not be read: it did not answer in time."
        )


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        ("http", "it must be an https URL"),
        ("https", "its host is in a private network; register the keys themselves instead of the URL"),
    ],
)
def test_a_gateway_that_others_reach_asks_nothing_on_loopback(site, tmp_path, scheme, reason):
    services = migrated_services(tmp_path, host="0.0.0.0", public_url="https://opinions.example.org")
    client = Client("inward", "https://opinions.example.org/oauth/token")
    url = site.url.replace("http://127.0.0.1", f"{scheme}://localhost")
    with services.database.transaction() as session:
        partners.add(session, Registration(client.id, "Hospital", jwks_url=url))
    response = _app(services).test_client().post("/oauth/token", data=client.form())
    assert response.status_code == 401
    assert response.json["error_description"] == (
        f"The keys at the registered JWKS URL could not be read: {reason}."
    )
    assert site.requests == 0


def test_behind_a_proxy_that_ends_tls_tokens_are_for_the_public_url(tmp_path):
    services = migrated_services(tmp_path, host="0.0.0.0", public_url="https://opinions.example.org/")
    client = Client("hospital-a", "https://opinions.example.org/oauth/token")
    add_partner(services, Registration(client.id, "Hospital A", jwks=client.jwks))
    response = _app(services).test_client().post("http://gateway:8080/oauth/token", data=client.form())
    assert response.status_code == 200
    partner = authenticate_partner(services, {"Authorization": f"Bearer {response.json['access_token']}"})
    assert partner.id == "hospital-a"


def test_without_its_database_the_endpoint_asks_to_try_again(tmp_path):
    services = migrated_services(tmp_path, database_url=f"sqlite:///{tmp_path}/gateway.sqlite")
    client = Client("hospital-a", f"{services.config.base_url}/oauth/token")
    lost = build_services(
        services.config.model_copy(update={"database_url": SecretStr("sqlite:////nowhere/x")})
    )
    response = _app(lost).test_client().post("/oauth/token", data=client.form())
    assert (response.status_code, response.json["error"]) == (503, "temporarily_unavailable")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Retry-After"]


# Discovery


def test_smart_configuration_names_the_endpoint_and_what_it_takes(house):
    base_url = house.base_url
    expected = {
        "token_endpoint": f"{base_url}/oauth/token",
        "jwks_uri": f"{base_url}/oauth/jwks",
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "scopes_supported": ["system/*.cruds"],
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    }
    for path in ("/fhir/.well-known/smart-configuration", "/.well-known/smart-configuration"):
        response = requests.get(base_url + path, timeout=10)
        assert response.headers["Content-Type"] == "application/json"
        assert response.json() == expected


def test_the_authorization_server_describes_itself(house):
    metadata = requests.get(f"{house.base_url}/.well-known/oauth-authorization-server", timeout=10).json()
    assert metadata["issuer"] == house.base_url
    assert metadata["token_endpoint"] == f"{house.base_url}/oauth/token"
    described = AuthorizationServerMetadata(metadata | {"response_types_supported": ["none"]})
    described.validate()


# The running gateway


def test_a_partner_that_the_operator_added_gets_in_with_its_token(gateway, partner, other_partner):
    for hospital in (partner, other_partner):
        assert hospital.request_token().json()["scope"] == "system/*.cruds"
        found = requests.get(f"{gateway.fhir_url}/Task", headers=hospital.headers(), timeout=20)
        assert found.status_code == 200, found.text


def test_the_running_gateway_lets_nobody_else_in(gateway, partner):
    for headers in ({}, {"Authorization": f"Bearer {partner.assertion()}"}):
        refused = requests.get(f"{gateway.fhir_url}/Task", headers=headers, timeout=20)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
        assert refused.json()["resourceType"] == "OperationOutcome"


def test_the_running_gateway_is_found_by_its_smart_configuration(gateway, partner):
    found = requests.get(f"{gateway.fhir_url}/.well-known/smart-configuration", timeout=20).json()
    assert found["token_endpoint"] == f"{gateway.base_url}/oauth/token"
    assert partner.request_token(assertion=partner.assertion(aud=found["token_endpoint"])).status_code == 200


def test_a_token_is_for_what_was_asked_only(gateway, partner):
    headers = partner.headers("system/Patient.rs")
    assert requests.get(f"{gateway.fhir_url}/Patient", headers=headers, timeout=20).status_code == 200
    for method, path in (("GET", "/Task"), ("POST", "/Bundle")):
        refused = requests.request(method, gateway.fhir_url + path, headers=headers, json={}, timeout=20)
        assert refused.status_code == 403, refused.text
