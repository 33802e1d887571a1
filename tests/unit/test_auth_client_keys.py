"""What is taken as a partner's public key, and what is said of the rest."""

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from gateway.auth.client_keys import MAX_KEYS, read_jwks

P384 = ECKey.generate_key("P-384", parameters={"kid": "ec"}, auto_kid=False)
RSA = RSAKey.generate_key(2048, parameters={"kid": "rsa"}, auto_kid=False)
EC_JWK, RSA_JWK = P384.as_dict(private=False), RSA.as_dict(private=False)
P256_JWK = ECKey.generate_key("P-256", parameters={"kid": "x"}).as_dict(private=False)
WITHOUT_KID = {name: value for name, value in EC_JWK.items() if name != "kid"}
PRIVATE = "key 1 holds a private key: it is exposed now, make a new one and register only its public part"
OTHER_KIND = "key 1 is neither RSA (for RS384) nor EC on P-384 (for ES384)"
NO_KID = "key 1 has no kid: the assertion's header names its key by kid"


def test_p384_and_rsa_keys_are_read():
    keys, faults = read_jwks(
        {"keys": [EC_JWK, RSA_JWK | {"use": "sig", "alg": "RS384", "key_ops": ["verify"]}]}
    )
    assert faults == []
    assert [(key.kid, key.key_type) for key in keys] == [("ec", "EC"), ("rsa", "RSA")]


@pytest.mark.parametrize(
    ("jwk", "fault"),
    [
        (P384.as_dict(private=True), PRIVATE),
        (RSA.as_dict(private=True), PRIVATE),
        (OctKey.generate_key(256).as_dict(private=True), PRIVATE),
        (OKPKey.generate_key("Ed25519").as_dict(private=False), OTHER_KIND),
        ({"kid": "x"}, OTHER_KIND),
        ({"kty": ["EC"], "kid": "x"}, OTHER_KIND),
        (P256_JWK, "key 1 is not on the curve P-384 that ES384 needs"),
        (WITHOUT_KID, NO_KID),
        (EC_JWK | {"kid": ""}, NO_KID),
        (EC_JWK | {"use": "enc"}, "key 1 is not for signatures: its use must be sig"),
        (EC_JWK | {"alg": "ES256"}, "key 1 is for another algorithm than ES384"),
        (RSA_JWK | {"alg": "RS256"}, "key 1 is for another algorithm than RS384"),
        (EC_JWK | {"key_ops": ["encrypt"]}, "key 1 may not verify signatures: its key_ops must hold verify"),
        (EC_JWK | {"x": "AAAA"}, "key 1 is no valid EC key"),
        (EC_JWK | {"crv": "P-999"}, "key 1 is no valid EC key"),
        (EC_JWK | {"x": 5}, "key 1 is no valid EC key"),
        (RSA_JWK | {"n": ""}, "key 1 is no valid RSA key"),
        ("EC", "key 1 is no JSON object"),
    ],
)
def test_an_unusable_key_is_left_out_with_its_reason(jwk, fault):
    assert read_jwks({"keys": [jwk]}) == ([], [fault])


@pytest.mark.filterwarnings("ignore:Key size")
def test_a_short_rsa_key_is_left_out():
    short = RSAKey.generate_key(1024, parameters={"kid": "x"}).as_dict(private=False)
    assert read_jwks({"keys": [short]}) == ([], ["key 1 has 1024 bits; RSA needs 2048 at least"])


def test_one_bad_key_does_not_take_the_good_one_with_it():
    keys, faults = read_jwks({"keys": [{"kty": "oct"}, EC_JWK]})
    assert [key.kid for key in keys] == ["ec"]
    assert len(faults) == 1


@pytest.mark.parametrize("jwks", [None, [], "x", {}, {"keys": None}, {"keys": {"0": EC_JWK}}])
def test_what_is_no_jwk_set_is_told(jwks):
    assert read_jwks(jwks) == (
        [],
        ["it is no JWK Set: an object with a list 'keys' was expected (RFC 7517 5)"],
    )


def test_a_set_of_very_many_keys_is_not_read():
    assert read_jwks({"keys": [EC_JWK] * (MAX_KEYS + 1)}) == ([], ["it holds 51 keys; at most 50 are read"])
