"""Renders every overlay with `kubectl kustomize` and checks the result: each object against the
Kubernetes schemas, and that what refers to something refers to something that is there."""

import pathlib
import subprocess
import sys

import kubernetes_validate
import yaml

VERSION = "1.34"
# Made by an operator, as deploy/README.md says.
FROM_OPERATORS = {
    ("Secret", "ca-registrar"),
    ("Secret", "orderer-identity"),
    ("Secret", "peer-identity"),
    ("ConfigMap", "consortium"),
}
EXPECTED = {
    ("StatefulSet", "ca"), ("StatefulSet", "orderer"), ("StatefulSet", "peer"),
    ("Service", "ca"), ("Service", "orderer"), ("Service", "peer"),
    ("NetworkPolicy", "default-deny"), ("NetworkPolicy", "ca"),
    ("NetworkPolicy", "orderer"), ("NetworkPolicy", "peer"),
}

passed = failed = 0


def check(name, problem):
    """Counts a check; `problem` is None when it holds."""
    global passed, failed
    if problem is None:
        passed += 1
    else:
        failed += 1
        print(f"FAILED {name}: {problem}")


def referred(volume):
    """What a volume takes its files from."""
    if "secret" in volume:
        yield "Secret", volume["secret"]["secretName"]
    if "configMap" in volume:
        yield "ConfigMap", volume["configMap"]["name"]
    for source in volume.get("projected", {}).get("sources", []):
        if "secret" in source:
            yield "Secret", source["secret"]["name"]


def check_overlay(overlay):
    rendered = subprocess.run(
        ["kubectl", "kustomize", str(overlay)], check=True, capture_output=True, text=True
    ).stdout
    objects = [entry for entry in yaml.safe_load_all(rendered) if entry]
    # Generated names carry a hash of their content.
    names = {(entry["kind"], entry["metadata"]["name"]) for entry in objects}
    missing = EXPECTED - names
    check(f"{overlay.name} has all objects", f"missing {missing}" if missing else None)
    for entry in objects:
        name = f"{overlay.name}: {entry['kind']} {entry['metadata']['name']}"
        try:
            kubernetes_validate.validate(entry, VERSION, strict=True)
            check(name, None)
        except kubernetes_validate.ValidationError as error:
            check(name, error.message)
        if entry["kind"] != "Namespace":
            found = entry["metadata"].get("namespace")
            check(f"{name} namespace", None if found == overlay.name else f"is {found}")
        if entry["kind"] != "StatefulSet":
            continue
        pod = entry["spec"]["template"]["spec"]
        claims = {claim["metadata"]["name"] for claim in entry["spec"]["volumeClaimTemplates"]}
        volumes = {volume["name"] for volume in pod["volumes"]} | claims
        for volume in pod["volumes"]:
            for reference in referred(volume):
                known = reference in names or reference in FROM_OPERATORS
                check(f"{name} uses {reference}", None if known else "does not exist")
        for container in pod["containers"]:
            for mount in container["volumeMounts"]:
                known = mount["name"] in volumes
                check(f"{name} mounts {mount['name']}", None if known else "no such volume")
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                check(f"{name} {probe}", None if probe in container else "missing")
            check(
                f"{name} runs restricted",
                None
                if container["securityContext"]["allowPrivilegeEscalation"] is False
                and pod["securityContext"]["runAsNonRoot"] is True
                else "may gain privileges",
            )


overlays = sorted(path for path in pathlib.Path("deploy/overlays").iterdir() if path.is_dir())
assert len(overlays) == 3, overlays
for each in overlays:
    check_overlay(each)
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
