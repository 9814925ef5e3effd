import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dask.utils import parse_bytes

from jobs.profiles import profile

# From the oldest that some clusters still run to the newest that is known here.
VERSIONS = ("1.31", "1.34", "1.37")


def _documents(folder: Path) -> list[dict[str, Any]]:
    paths = [path for path in sorted(folder.glob("*.yaml")) if path.name != "kustomization.yaml"]
    return [one for path in paths for one in yaml.safe_load_all(path.read_text())]


@pytest.fixture
def documents(deploy: Path) -> list[dict[str, Any]]:
    return _documents(deploy / "kubernetes")


@pytest.fixture
def kind(documents):
    """Return the function that gives all documents of a kind by name."""
    return lambda wanted: {one["metadata"]["name"]: one for one in documents if one["kind"] == wanted}


@pytest.fixture
def pods(kind) -> dict[str, dict[str, Any]]:
    """The templates of all pods by name."""
    found = {name: one["spec"]["template"] for name, one in kind("Deployment").items()}
    return found | {name: one["spec"]["jobTemplate"]["spec"]["template"] for name, one in kind("CronJob").items()}


@pytest.fixture
def containers(pods) -> dict[str, dict[str, Any]]:
    """The one container of each pod."""
    return {name: one["spec"]["containers"][0] for name, one in pods.items() if len(one["spec"]["containers"]) == 1}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_document_fits_the_schema(documents, version):
    validator = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    for one in documents:
        validator.validate(one, version, strict=True)


def test_kustomize_builds_every_file(deploy, documents):
    folder = deploy / "kubernetes"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(path.name for path in folder.glob("*.yaml") if path.name != "kustomization.yaml")
    try:
        built = subprocess.run(["kubectl", "kustomize", folder], check=True, capture_output=True, text=True, timeout=60).stdout
    except FileNotFoundError:
        pytest.skip("no kubectl: install it from kubernetes.io or from the package kubernetes-client")
    assert len(list(yaml.safe_load_all(built))) == len(documents)


def test_one_night_at_a_time(kind):
    night = kind("CronJob")["gaialake-nightly"]["spec"]
    assert night["concurrencyPolicy"] == "Forbid"
    assert night["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 24 * 3600
    # Without restarts by the pod itself the policy for failures counts.
    assert night["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_nothing_to_do_and_another_writer_are_no_failures(containers):
    assert containers["gaialake-nightly"]["command"][0].endswith("/deploy/scheduled.sh")


def test_pods_have_no_rights(pods, containers):
    assert len(pods) == len(containers) == 3
    for name, pod in pods.items():
        held = pod["spec"]
        assert held["securityContext"]["runAsNonRoot"] is True, name
        assert held["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert held["automountServiceAccountToken"] is False, name
        assert containers[name]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name


def test_pods_run_as_the_user_of_the_image(pods, deploy):
    user = (deploy / "container" / "Containerfile").read_text().partition("\nUSER ")[2].split()[0]
    for pod in pods.values():
        context = pod["spec"]["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == user


def test_the_image_has_a_version(containers, deploy):
    (image,) = {one["image"] for one in containers.values()}
    name, _, tag = image.partition(":")
    held = yaml.safe_load((deploy / "kubernetes" / "kustomization.yaml").read_text())["images"]
    assert tag not in ("", "latest")
    assert [(one["name"], one["newTag"]) for one in held] == [(name, tag)]


def test_a_folder_is_writable_where_the_root_is_not(containers):
    for one in containers.values():
        assert "/tmp" in {mount["mountPath"] for mount in one["volumeMounts"]}


def test_profile_and_workers_name_the_scheduler_as_its_service_does(kind, containers, pods):
    service = kind("Service")["gaialake-scheduler"]
    ports = {one["name"]: one["port"] for one in service["spec"]["ports"]}
    address = f"tcp://gaialake-scheduler:{ports['scheduler']}"
    assert profile("kubernetes").own["scheduler"] == address
    assert address in containers["gaialake-worker"]["command"]
    assert "kubernetes" in containers["gaialake-nightly"]["command"]
    assert service["spec"]["selector"].items() <= pods["gaialake-scheduler"]["metadata"]["labels"].items()
    open_there = {one["name"]: one["containerPort"] for one in containers["gaialake-scheduler"]["ports"]}
    assert ports == open_there == {"scheduler": 8786, "dashboard": 8787}


def test_deployments_select_their_own_pods_alone(kind):
    selectors = [one["spec"]["selector"]["matchLabels"] for one in kind("Deployment").values()]
    assert len({tuple(one.items()) for one in selectors}) == len(selectors)
    for one in kind("Deployment").values():
        assert one["spec"]["selector"]["matchLabels"].items() <= one["spec"]["template"]["metadata"]["labels"].items()


def test_only_our_pods_reach_our_pods(kind, pods):
    (policy,) = kind("NetworkPolicy").values()
    ours = policy["spec"]["podSelector"]["matchLabels"]
    assert ours
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert policy["spec"]["ingress"] == [{"from": [{"podSelector": {"matchLabels": ours}}]}]
    for pod in pods.values():
        assert ours.items() <= pod["metadata"]["labels"].items()


def test_dask_ends_a_worker_before_the_kernel_does(containers):
    worker = containers["gaialake-worker"]
    limit = parse_bytes(worker["args"][worker["args"].index("--memory-limit") + 1])
    allowed = parse_bytes(f"{worker['resources']['limits']['memory']}B")
    assert limit + parse_bytes("0.5GiB") <= allowed
    assert worker["resources"]["requests"]["memory"] == worker["resources"]["limits"]["memory"]


def test_every_container_asks_for_what_it_needs_and_is_held_to_it(containers):
    for one in containers.values():
        assert {"cpu", "memory"} <= one["resources"]["requests"].keys()
        assert "memory" in one["resources"]["limits"]


def test_secrets_come_from_secrets_alone(documents, kind):
    assert not kind("Secret")
    for key, value in _leaves(documents):
        if any(word in key.upper() for word in ("SECRET_ACCESS", "ACCESS_KEY", "PASSWORD", "TOKEN")):
            assert key == "automountServiceAccountToken", f"{key}: {value}"
    for one in _environment(documents):
        assert set(one) == {"name", "valueFrom"}, one
        assert set(one["valueFrom"]) == {"secretKeyRef"}, one


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _leaves(value, key)
    else:
        yield key, node


def _environment(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield from node.get("env", ())
        for value in node.values():
            yield from _environment(value)
    elif isinstance(node, list):
        for value in node:
            yield from _environment(value)
