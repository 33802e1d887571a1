"""In which Patients' compartments a resource is (FHIR R4 2.6, CompartmentDefinition patient)."""

from gateway.fhir.served import Served
from mappings.fhir_search_parameters import resource_types, search_parameters
from mappings.fhir_search_values import references_at


def patients_of(one: Served) -> frozenset[str]:
    """References to the Patients in whose compartment it is."""
    if one.type == "Patient":
        return frozenset({one.reference})
    return frozenset(
        reference
        for parameter in search_parameters(one.type).values()
        if parameter.of_patient
        for path in parameter.paths
        for reference in references_at(one.resource, path)
        if reference.startswith("Patient/")
    )


def types_of_compartment() -> frozenset[str]:
    """The types of which anything can be in a Patient's compartment."""
    found = {
        name
        for name in resource_types()
        if any(parameter.of_patient for parameter in search_parameters(name).values())
    }
    return frozenset(found | {"Patient"})
