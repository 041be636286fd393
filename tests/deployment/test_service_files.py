"""The files that start the service elsewhere: what they name exists, and their words are those of the program."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve import Application
from ray.serve.schema import ServeDeploySchema

import intravisto_core as iv
from intravisto_core.cli import read_arguments
from intravisto_core.service import clients as client_files
from intravisto_core.service.limits import Allowance
from intravisto_ui.session import settings

DEPLOY = Path(__file__).parents[2] / "deploy"


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text("utf-8"))
    return found


def test_compose_starts_the_service_and_an_app_that_uses_it():
    services = read("compose.yaml")["services"]
    options = read_arguments(services["service"]["command"])
    assert (options.command, options.model, options.host, options.port) == ("serve", ["demo"], "0.0.0.0", 8400)
    assert options.tokens == Path("/run/secrets/tokens"), "it listens to others, so that it needs tokens"
    environment = services["app"]["environment"]
    assert settings.read_engine(environment) == f"http://service:{options.port}"
    assert "INTRAVISTO_TOKEN" in environment
    for service in services.values():
        built = service["build"]
        folder = (DEPLOY / (built["context"] if isinstance(built, dict) else built)).resolve()
        assert (folder / (built.get("dockerfile", "") if isinstance(built, dict) else "Dockerfile")).is_file()
    assert services["app"]["depends_on"]["service"]["condition"] == "service_healthy"
    assert ":8400/health" in services["service"]["healthcheck"]["test"][-1]


def test_the_image_of_the_service_runs_the_command():
    lines = (DEPLOY / "service.Dockerfile").read_text("utf-8").splitlines()
    assert "USER user" in lines
    assert 'RUN pip install --no-cache-dir ".[serve]"' in lines
    words = dict(line.split(" ", 1) for line in lines if line.startswith(("ENTRYPOINT", "CMD")))
    assert json.loads(words["ENTRYPOINT"]) == ["intravisto"]
    assert read_arguments(json.loads(words["CMD"])).command == "serve"


@pytest.fixture
def config() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(read("kuberay.yaml")["spec"]["serveConfigV2"])
    return found


def test_kuberay_names_an_application_that_can_be_built(config, tmp_path, monkeypatch):
    schema = ServeDeploySchema.model_validate(config)
    (app,) = schema.applications
    module, _, name = app.import_path.partition(":")
    args = {**app.args, "tokens": str(tmp_path / "tokens")}
    (tmp_path / "tokens").write_text("app 0123456789abcdef0123\n")
    assert isinstance(getattr(import_module(module), name)(args), Application)
    with pytest.raises(iv.RequestError, match="tokens"):
        getattr(import_module(module), name)({**args, "token": "x"})
    assert client_files.read_clients(args["tokens"], Allowance()).has_tokens


def test_kuberay_gives_its_containers_what_the_application_reads(config):
    spec = read("kuberay.yaml")["spec"]["rayClusterConfig"]
    args = config["applications"][0]["args"]
    (group,) = spec["workerGroupSpecs"]
    assert group["maxReplicas"] >= args["most"]
    for template in (spec["headGroupSpec"]["template"], group["template"]):
        (container,) = template["spec"]["containers"]
        (mount,) = container["volumeMounts"]
        assert args["tokens"].startswith(mount["mountPath"])
        assert int(container["resources"]["limits"]["cpu"]) >= 1
    # the operator finds ports by name, and adds none of its own to a list
    templates = {"head": spec["headGroupSpec"]["template"], "worker": group["template"]}
    ports = {
        who: {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
        for who, template in templates.items()
    }
    served = {"serve": config["http_options"]["port"]}
    assert ports == {"head": {"gcs-server": 6379, "dashboard": 8265, "client": 10001, **served}, "worker": served}
    assert spec["enableInTreeAutoscaling"], "else no worker comes beside those that there are"
    assert "install -y --no-install-recommends wget" in (DEPLOY / "service.Dockerfile").read_text("utf-8")
