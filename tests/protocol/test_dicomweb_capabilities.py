"""Retrieve Capabilities (PS3.18 8.9): the document tells of what is offered, and of nothing else."""

from xml.etree import ElementTree

import pytest
import requests

from gateway.app import create_app
from gateway.dicomweb import query
from gateway.dicomweb.capabilities import OFFERS
from tests.support.gateway_process import GatewayProcess
from tests.support.in_process import migrated_services

WADL = "application/vnd.sun.wadl+xml"
NAMESPACE = {"w": "http://wadl.dev.java.net/2009/02"}


def options(gateway: GatewayProcess, path: str = "/", accept: str = "*/*") -> requests.Response:
    return requests.options(f"{gateway.dicomweb_url}{path}", headers={"Accept": accept}, timeout=20)


@pytest.mark.parametrize("path", ["/", "/studies", "/studies/1.2.3/metadata", "/anything"])
def test_options_of_any_resource_tells_of_all(gateway, path):
    answer = options(gateway, path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == WADL
    assert {"GET", "POST", "OPTIONS"} <= set(answer.headers["Allow"].split(", "))
    document = ElementTree.fromstring(answer.content)
    assert document.find("w:resources", NAMESPACE).get("base") == f"{gateway.dicomweb_url}/"
    paths = {resource.get("path") for resource in document.iterfind(".//w:resource", NAMESPACE)}
    assert {
        "studies",
        "studies/{study}/series/{series}/instances/{instance}/frames/{frames}",
        "wado",
    } <= paths


def test_it_is_told_as_json_too(gateway):
    answer = options(gateway, accept="application/json")
    found = {one["path"]: one["methods"] for one in answer.json()["resources"]}
    [rendered] = found["studies/{study}/series/{series}/instances/{instance}/rendered"]
    assert rendered["answers"][0] == "image/jpeg"
    assert rendered["parameters"] == ["accept", "quality", "viewport", "window"]
    assert {one["method"] for one in found["studies/{study}"]} == {"GET", "POST"}
    assert options(gateway, accept="text/html").status_code == 406


def test_the_parameters_of_a_search_are_those_that_it_reads():
    told = set(OFFERS["search_studies"].parameters)
    assert told == {"accept", "{attributeID}", "includefield", "limit", "offset", *query._OPTIONS}


def test_every_route_of_the_door_is_told_of(tmp_path):
    app = create_app(migrated_services(tmp_path))
    routes = {
        rule.endpoint.removeprefix("dicomweb.")
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("dicomweb.")
    }
    assert routes - {"not_offered"} == set(OFFERS)


def test_what_is_told_is_what_is_answered(gateway):
    """Every method of every resource is one of the door: a path that is told of is not 501."""
    document = ElementTree.fromstring(options(gateway).content)
    for resource in document.iterfind(".//w:resource", NAMESPACE):
        for method in resource.iterfind("w:method", NAMESPACE):
            path = resource.get("path").replace("{frames}", "1").replace("{", "").replace("}", "")
            url = f"{gateway.dicomweb_url}/{path}"
            assert requests.request(method.get("name"), url, timeout=20).status_code == 401, path
