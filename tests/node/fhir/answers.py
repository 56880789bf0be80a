"""Validates every answer that the tests were given with `fhir.resources`, which was not written here.

    answers.py FOLDER

The folder has files of lines `{"what": ..., "status": ..., "body": ...}`. The package has no models of
R4 (4.0.1) but those of R4B (4.3.0), which differs in few resources, none of which is answered here in
what differs: nothing is let through.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

def check(resource):
    """The mistakes of a resource as `path: sentence`."""
    kind = resource.get("resourceType")
    try:
        get_fhir_model_class(kind).model_validate(resource)
    except ValidationError as error:
        return [f"{kind}.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    except (KeyError, LookupError) as error:
        return [f"{kind}: {error}"]
    return [f"{kind}: empty at {path}" for path in empty(resource)]


def empty(value, path=""):
    """Where there are empty lists, objects or texts, or null, which JSON of FHIR has not."""
    if value is None or value == "" or value == [] or value == {}:
        yield path
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []:
        yield from empty(inner, f"{path}.{name}")


def resources(body):
    """A resource and, where it is a Bundle, those in it each by themselves."""
    yield body
    for entry in body.get("entry", []) if body.get("resourceType") == "Bundle" else []:
        for inner in (entry.get("resource"), entry.get("response", {}).get("outcome")):
            if inner:
                yield from resources(inner)


def main(folder):
    # A validator that accepts everything would not be noticed.
    for wrong in (
        {"resourceType": "Observation", "status": "final"},
        {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "colour": "blue"},
        {"resourceType": "OperationOutcome", "issue": []},
        {"resourceType": "AuditEvent"},
    ):
        assert check(wrong), f"accepted: {wrong}"
    answers, kinds, mistakes = 0, Counter(), Counter()
    for file in sorted(Path(folder).glob("*.ndjson")):
        for line in file.read_text().splitlines():
            answer = json.loads(line)
            answers += 1
            for resource in resources(answer["body"]):
                kinds[resource.get("resourceType")] += 1
                for mistake in check(resource):
                    mistakes[f"{answer['what']} {answer['status']}: {mistake}"] += 1
    for mistake, count in mistakes.most_common(50):
        print(f"{count} times {mistake}", file=sys.stderr)
    print(f"{answers} answers, {sum(kinds.values())} resources: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
    if mistakes or answers == 0:
        sys.exit(1)


main(sys.argv[1])
