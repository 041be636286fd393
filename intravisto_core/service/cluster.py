"""The service over a Ray cluster: replicas hold models, an ingress holds the jobs.

A trace lives in the replica that made it, and its id says which (`backend.route_key`): requests are sent there, and to
the next one by the same rule where it is no more. What a replica lacks it makes again from the description that comes
with the question. So a replica, or the ingress, that is killed costs its users a delay.
"""

from __future__ import annotations

import hashlib
import signal
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from secrets import token_bytes
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError, RayError
from ray.serve.config import RequestRouterConfig
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from intravisto_core.engine.answers import pack_question, read_error, read_question, write_error
from intravisto_core.engine.limits import Limits
from intravisto_core.errors import IntravistoError
from intravisto_core.options import refuse_unknown
from intravisto_core.request import ModelSpec
from intravisto_core.service.backend import Gone, Outcome, Step, Ticket
from intravisto_core.service.clients import read_clients
from intravisto_core.service.http import build_app
from intravisto_core.service.limits import Allowance, ServiceLimits
from intravisto_core.service.placement import (
    BESIDE,
    Group,
    check_devices,
    check_gpus,
    estimate_sizes,
    group_models,
    name_models,
    read_gigabytes,
)
from intravisto_core.service.ray_start import start_ray
from intravisto_core.storage.bundle import unpack_bundle

APP = "intravisto"
ARGUMENTS = ("models", "least", "most", "tokens", "memory_gb", "gpu_memory_gb", "cpus")
# many wait inside a replica, where its dispatcher lets clients take turns
MOST_IN_REPLICA = 1000
WAITING_A_REPLICA = 4
INGRESS_CPUS = 0.1
# a replica that is at work on a busy machine may be late to say that it is well; one that is gone is noticed at once
HEALTHY_S = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a cluster is to serve. least, most: replicas of each group of models; between them as many as are needed.

    tokens: path of the file of bearer tokens. memory: bytes of weights that one replica may hold. gpu_memory: of one
    GPU, where models run on GPUs. cpus: of one replica. secret: see `Book`; every ingress of the cluster has the same.
    """

    models: Mapping[str, ModelSpec]
    least: int = 1
    most: int = 1
    tokens: str | None = None
    allowance: Allowance = field(default_factory=Allowance)
    of_request: Limits = field(default_factory=Limits)
    limits: ServiceLimits = field(default_factory=ServiceLimits)
    memory: int | None = None
    gpu_memory: int | None = None
    cpus: float = 0.4
    secret: bytes = field(default_factory=token_bytes, repr=False)


class ByKey(RequestRouter):
    """Sends what has one key to one replica: the one whose name and the key have the largest hash together.

    Where replicas come or go, only what belonged to them moves.
    """

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Replicas in the order of the rule; Serve takes the first that has room."""
        key = "" if pending_request is None else str(pending_request.kwargs.get("key", ""))
        return [[each] for each in sorted(candidate_replicas, key=lambda r: weigh(key, r.replica_id.unique_id))]


def weigh(key: str, replica: str) -> bytes:
    """The place of a replica in the order for a key; the least comes first."""
    return hashlib.sha256(f"{key}\n{replica}".encode()).digest()


class Replica:
    """The models of one group in a process of the cluster."""

    def __init__(self, models: Mapping[str, ModelSpec], of_request: Limits, most_answer: int) -> None:
        # torch is loaded here, and not in the ingress
        from intravisto_core.service.host import Host

        self._host = Host(models, of_request, most_answer)

    async def answer(self, id: str, model: str, data: bytes, key: str) -> AsyncIterator[Step | Outcome]:
        """See `Backend.answer`. data: the question as bytes."""
        bundle = unpack_bundle(data, "question")
        ticket = Ticket(id, model, read_question(bundle.manifest, bundle.arrays), key)
        async for told in self._host.answer(ticket):
            yield told

    async def cancel(self, id: str, key: str) -> None:
        """See `Backend.cancel`."""
        self._host.stop(id)

    async def ask(self, model: str, verb: str, body: Mapping[str, Any], key: str) -> dict[str, Any]:
        """See `Backend.ask`; an error is told in words, since classes do not travel."""
        try:
            return await self._host.ask(model, verb, body, key)
        except IntravistoError as error:
            return {"error": write_error(error)}


class ClusterBackend:
    """The replicas as the HTTP side sees them. handles: of the deployment that holds each model."""

    def __init__(self, models: Mapping[str, ModelSpec], handles: Mapping[str, DeploymentHandle]) -> None:
        self.models = dict(models)
        self._handles = handles

    async def answer(self, ticket: Ticket) -> AsyncIterator[Step | Outcome]:
        """See `Backend.answer`."""
        handle: Any = self._handles[ticket.model].options(stream=True)
        data = pack_question(ticket.question)
        try:
            async for told in handle.answer.remote(id=ticket.id, model=ticket.model, data=data, key=ticket.key):
                yield told
        except (RayActorError, RayServeException, RayError) as error:
            raise Gone from error

    async def cancel(self, ticket: Ticket) -> None:
        """See `Backend.cancel`."""
        try:
            await self._handles[ticket.model].cancel.remote(id=ticket.id, key=ticket.key)
        except (RayError, RayServeException) as error:
            raise Gone from error

    async def ask(self, model: str, verb: str, body: Mapping[str, Any], key: str = "") -> dict[str, Any]:
        """See `Backend.ask`."""
        try:
            found = await self._handles[model].ask.remote(model=model, verb=verb, body=dict(body), key=key)
        except (RayError, RayServeException) as error:
            raise Gone from error
        if "error" in found:
            raise read_error(found["error"])
        return dict(found)

    async def close(self) -> None:
        """Nothing: replicas are the cluster's."""


class Ingress:
    """The HTTP side in a process of the cluster."""

    def __init__(self, plan: Plan, groups: tuple[Group, ...], *handles: DeploymentHandle) -> None:
        self._plan = plan
        self._handles = {name: handle for group, handle in zip(groups, handles, strict=True) for name in group.names}

    def __serve_build_asgi_app__(self) -> FastAPI:
        plan = self._plan
        told = {name: value for name, value in asdict(plan.of_request).items() if value is not None}
        backend = ClusterBackend(plan.models, self._handles)
        return build_app(backend, read_clients(plan.tokens, plan.allowance), plan.limits, told, plan.secret)


def build(plan: Plan) -> serve.Application:
    """The application: a deployment for each group of models, and the ingress before them.

    Raises:
        ModelError: a model cannot be had or read.
        RequestError: a model asks for a device that replicas do not have.
    """
    return _bind(plan, plan_groups(plan))


def plan_groups(plan: Plan) -> tuple[Group, ...]:
    """Which models share a replica. Raises as `build`."""
    check_devices(plan.models, plan.gpu_memory is not None)
    return tuple(group_models(estimate_sizes(plan.models), plan.memory, plan.gpu_memory))


def _bind(plan: Plan, groups: tuple[Group, ...]) -> serve.Application:
    handles = [_deploy(plan, group, number) for number, group in enumerate(groups)]
    ingress: Any = serve.deployment(
        serve.ingress()(Ingress),
        name="ingress",
        max_ongoing_requests=MOST_IN_REPLICA,
        ray_actor_options={"num_cpus": INGRESS_CPUS},
    )
    bound: serve.Application = ingress.bind(plan, groups, *handles)
    return bound


def application(args: Mapping[str, Any]) -> serve.Application:
    """The application of a configuration file: `import_path: intravisto_core.service.cluster:application`.

    args: `models` (sources, separated by commas), and `least`, `most`, `tokens`, `memory_gb`, `gpu_memory_gb`, `cpus`.

    Raises:
        RequestError: another name among them.
    """
    refuse_unknown("application", ARGUMENTS, dict(args))

    sources = [each.strip() for each in str(args.get("models", "demo")).split(",") if each.strip()]
    plan = Plan(
        name_models(ModelSpec(source) for source in sources),
        least=int(args.get("least", 1)),
        most=int(args.get("most", args.get("least", 1))),
        tokens=args.get("tokens"),
        memory=read_gigabytes("memory_gb", args.get("memory_gb")),
        gpu_memory=read_gigabytes("gpu_memory_gb", args.get("gpu_memory_gb")),
        cpus=float(args.get("cpus", 1.0)),
    )
    return build(plan)


def _deploy(plan: Plan, group: Group, number: int) -> serve.Application:
    resources: dict[str, Any] = {"num_cpus": plan.cpus, "memory": group.nbytes + BESIDE}
    if group.gpus:
        resources["num_gpus"] = group.gpus
    else:
        # Ray leaves all GPUs in sight of an actor that asked for none
        resources["runtime_env"] = {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}
    router: Any = ByKey
    scale: dict[str, Any] = {"num_replicas": plan.least}
    if plan.most > plan.least:
        scale = {
            "autoscaling_config": {
                "min_replicas": plan.least,
                "max_replicas": plan.most,
                "target_ongoing_requests": WAITING_A_REPLICA,
            }
        }
    deployment: Any = serve.deployment(
        Replica,
        name=f"models-{number}",
        max_ongoing_requests=MOST_IN_REPLICA,
        ray_actor_options=resources,
        health_check_period_s=2.0,
        health_check_timeout_s=HEALTHY_S,
        graceful_shutdown_timeout_s=10.0,
        request_router_config=RequestRouterConfig(request_router_class=router),
        **scale,
    )
    models = {name: plan.models[name] for name in group.names}
    bound: serve.Application = deployment.bind(models, plan.of_request, plan.limits.most_answer)
    return bound


def start_cluster(plan: Plan, host: str, port: int, address: str | None = None) -> None:
    """Begin to serve, and come back once replicas are up. address: of a cluster that runs; else a new one here.

    Raises:
        RequestError: as `build`; a new cluster has fewer GPUs than the least number of replicas needs.
    """
    groups = plan_groups(plan)
    start_ray(address)
    if address is None:
        check_gpus(groups, plan.least, ray.cluster_resources().get("GPU", 0.0))
    serve.start(http_options={"host": host, "port": port}, logging_config={"enable_access_log": False})
    serve.run(_bind(plan, groups), name=APP, route_prefix="/", logging_config={"enable_access_log": False})


def run_cluster(plan: Plan, host: str, port: int, address: str | None = None) -> None:
    """Serve until the process is told to end."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    start_cluster(plan, host, port, address)
    ended.wait()
    serve.shutdown()
    ray.shutdown()
