"""Bodies that a hostile or broken sender sends by FHIR: each is a sound one with one thing changed."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.bundles import FHIR_JSON, patient, referral

FHIR_XML = "application/fhir+xml"
SECRET = "Geheimrat"
"""Stands in every body, and in no answer and no log."""
XHTML = "http://www.w3.org/1999/xhtml"
Json = dict[str, Any]


@dataclass(frozen=True)
class Hostile:
    """``body`` of a child who is SECRET, given as a sound resource or Bundle in JSON; ``words`` of the refusal."""

    name: str
    body: Callable[[str], bytes]
    words: str = ""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": FHIR_JSON})

    def __str__(self) -> str:
        return self.name


def child() -> Json:
    return patient("hostile-1", name=[{"family": SECRET, "given": ["Amara"]}])


def as_transaction() -> str:
    """The child stands first in it; it is never taken, so that each refusal is the first."""
    sent = referral("hostile-1")
    sent["entry"][0]["resource"] = child()
    sent["entry"][2]["resource"]["status"] = "no status at all"
    return json.dumps(sent)


def as_message() -> str:
    sent = json.loads(as_transaction())
    header = {
        "resourceType": "MessageHeader",
        "id": "m-1",
        "eventUri": "urn:event",
        "source": {"endpoint": "urn:hospital"},
    }
    entries = [{"fullUrl": "urn:uuid:0", "resource": header}, *sent["entry"]]
    for entry in entries:
        entry.pop("request", None)
    return json.dumps({"resourceType": "Bundle", "type": "message", "entry": entries})


def _with(name: str, fragment: str, words: str = "") -> Hostile:
    """The child with one member more, in JSON as it is written here."""
    mark = '"gender": "female"'
    return Hostile(name, lambda sound: sound.replace(mark, f"{mark}, {fragment}").encode(), words)


def _div(inner: str) -> str:
    return json.dumps({"status": "generated", "div": f'<div xmlns="{XHTML}">{inner}</div>'})


def _as(name: str, encode: Callable[[str], bytes], words: str = "", **headers: str) -> Hostile:
    given = {"Content-Type": FHIR_JSON} | {key.replace("_", "-"): value for key, value in headers.items()}
    return Hostile(name, encode, words, given)


def _xml(name: str, inner: str, words: str, before: str = "") -> Hostile:
    text = f'{before}<Patient xmlns="http://hl7.org/fhir"><name><family value="{SECRET}"/></name>{inner}</Patient>'
    return _as(name, lambda _: text.encode(), words, Content_Type=FHIR_XML)


_EXTERNAL = '<!DOCTYPE Patient [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
_BOMB = '<!DOCTYPE p [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'
_OUTER = '<!DOCTYPE Patient SYSTEM "http://127.0.0.1:9/x.dtd">'
_PARAMETER = '<!DOCTYPE p [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]>'
_XINCLUDE = '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd"/>'

JSON_BODIES = [
    _with("lists without end", '"extension": ' + "[" * 100_000 + "]" * 100_000, "nested"),
    _with("objects without end", '"extension": ' + '{"a":' * 900 + "1" + "}" * 900, "nested"),
    _with("extensions inside", '"extension": ' + '[{"url":"u","extension":' * 300 + "[]" + "}]" * 300, "nested"),
    _with("contained inside", '"contained": ' + '[{"resourceType":"Patient","contained":' * 40 + "[]" + "}]" * 40),
    _with("a property twice", '"language": "en", "language": "de"', "more than once"),
    _with("a type twice", '"resourceType": "Practitioner"', "more than once"),
    _with("a number with an exponent", '"multipleBirthInteger": 1e400'),
    _with("a number beyond counting", '"multipleBirthInteger": 1e999999999999999999', "number"),
    _with("a number of 100,000 digits", '"multipleBirthInteger": ' + "9" * 100_000, "digits"),
    _with("not a number", '"multipleBirthInteger": NaN', "NaN is no JSON number"),
    _with("infinity", '"multipleBirthInteger": -Infinity', "-Infinity is no JSON number"),
    _with("half a surrogate pair", '"language": "\\ud800"', "surrogate"),
    _with("half a surrogate pair as a name", '"\\udc00": "x"', "surrogate"),
    _with("NUL", '"language": "a\\u0000"', "NUL"),
    _with("names of JavaScript", '"__proto__": {"a": 1}, "constructor": {"prototype": 1}'),
    _with("names of nothing", '"": "x", "_": {"id": "x"}, "_id": []'),
    _with("100,000 unknown elements", ",".join(f'"k{i}": 1' for i in range(100_000)), "was not looked at further"),
    _with("a name of a million characters", '"' + "k" * 1_000_000 + '": 1'),
    _with("a code of spaces", '"language": "' + " " * 200_000 + 'en"'),
    _with("a date of dashes", '"birthDate": "' + "1-" * 50_000 + '"'),
    _with("a date that is none", '"deceasedDateTime": "2018-02-31T25:61:61+99:99"'),
    _with("a reference of slashes", '"managingOrganization": {"reference": "' + "a/" * 100_000 + '"}'),
    _with("a reference of |", '"managingOrganization": {"reference": "Organization?identifier=' + "|" * 9_999 + '"}'),
    _with("no base64", '"photo": [{"contentType": "image/png", "data": "%%% x"}]', "Base64"),
    _with("base64 of a letter", '"photo": [{"contentType": "image/png", "data": "A", "hash": "A"}]', "Base64"),
    _with("script in a narrative", f'"text": {_div("<script>alert(1)</script>")}', "script"),
    _with("an event in a narrative", f'"text": {_div("<img src=x onerror=alert(1) />")}', "XHTML"),
    _with("a link that runs", f'"text": {_div("<a href=&quot;javascript:alert(1)&quot;>x</a>")}', "XHTML"),
    _with(
        "entities in a narrative",
        '"text": ' + json.dumps({"status": "generated", "div": _BOMB + f'<div xmlns="{XHTML}">&c;</div>'}),
        "document type or entities",
    ),
    _with("a narrative without end", f'"text": {_div("<b>" * 5_000 + "</b>" * 5_000)}', "XHTML"),
]  # fmt: skip
ENCODED = [
    _as("UTF-16", lambda sound: sound.encode("utf-16"), "not UTF-8"),
    _as("UTF-32", lambda sound: sound.encode("utf-32"), "not UTF-8"),
    _as("Latin-1", lambda sound: sound.replace("Amara", "Åsa").encode("latin-1"), "not UTF-8"),
    _as("half a surrogate pair in bytes", lambda sound: sound.encode().replace(b"Amara", b"\xed\xa0\x80"), "not UTF-8"),
    _as("another charset", str.encode, "FHIR is in UTF-8", Content_Type=f"{FHIR_JSON}; charset=iso-8859-1"),
    _as("a charset that is none", str.encode, "FHIR is in UTF-8", Content_Type=f"{FHIR_JSON}; charset=nonsense"),
    _as("text", str.encode, "text/plain", Content_Type="text/plain"),
    _as("a form", str.encode, "multipart/form-data", Content_Type="multipart/form-data; boundary=x"),
    _as("no media type", str.encode, "no media type", Content_Type=""),
    _as("JSON as XML", str.encode, "not well-formed", Content_Type=FHIR_XML),
    _as("a version that is none", str.encode, "is not spoken", Content_Type=f"{FHIR_JSON}; fhirVersion={'4' * 5000}"),
    _as("a broken parameter", str.encode, Content_Type=f'{FHIR_JSON}; ="; charset'),
    _as("gzip that breaks off", lambda s: gzip.compress(s.encode())[:-10], "breaks off", Content_Encoding="gzip"),
    _as("gzip that is none", str.encode, "cannot be inflated", Content_Encoding="gzip"),
    _as("a gzip bomb", lambda _: gzip.compress(b" " * 80_000_000, 1), "inflates to more", Content_Encoding="gzip"),
    _as("an encoding that is not taken", str.encode, "gzip is taken", Content_Encoding="br"),
    _as("half of it", lambda sound: sound[: len(sound) // 2].encode(), "not JSON"),
    _as("XML as JSON", lambda _: b"<Patient/>", "not JSON"),
]  # fmt: skip
XML_BODIES = [
    _xml("an external entity", '<language value="&x;"/>', "document type or entities", _EXTERNAL),
    _xml("an entity bomb", '<language value="&c;"/>', "document type or entities", _BOMB),
    _xml("a document type elsewhere", "", "document type or entities", _OUTER),
    _xml("a parameter entity", "", "document type or entities", _PARAMETER),
    _xml("an entity that is not declared", '<language value="&x;"/>', "not well-formed"),
    _xml("XInclude", _XINCLUDE, "namespace that is not of FHIR"),
    _xml("elements without end", "<extension>" * 3_000 + "</extension>" * 3_000, "nested deeper"),
    _xml("an attribute twice", '<language value="a" value="b"/>', "not well-formed"),
    _xml("20,000 attributes", "<name " + " ".join(f'a{i}="1"' for i in range(20_000)) + "/>", "attribute"),
    _xml("an encoding that is none", "", "XML", '<?xml version="1.0" encoding="nonsense"?>'),
    _xml("an encoding that is no text", "", "XML", '<?xml version="1.0" encoding="hex"?>'),
    _xml("a control character", '<language value="a&#1;"/>', "not well-formed"),
    _xml("text", "<![CDATA[x]]>", "holds text"),
    _xml("two contained in one", "<contained><Patient/><Patient/></contained>", "holds 2 resources"),
    _xml("a number of 5,000 digits", f'<multipleBirthInteger value="{"9" * 5_000}"/>', "digits"),
]
BODIES = [*JSON_BODIES, *ENCODED, *XML_BODIES]
