"""`intravisto serve`: offer models over HTTP, from this process or from the replicas of a cluster."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from intravisto_core.cli.app import read_port
from intravisto_core.cli.options import SOURCES, add_spec, read_spec
from intravisto_core.cli.parser import add_command
from intravisto_core.cli.printing import print_notes, print_text
from intravisto_core.engine.limits import Limits
from intravisto_core.errors import MissingProgramError, RequestError, expected

# limits of one request that a service may set, with what each is called
OF_REQUEST = {
    "prompt_tokens": "tokens of one prompt",
    "new_tokens": "tokens that one run may generate",
    "prompts": "prompts of a direction, or of the sets that means are taken over",
    "seconds": "seconds of the model's time that one request may take",
    "queue": "pieces of work that may be ahead of a new one of the same model",
}
# of one client in an hour, or at once
OF_CLIENT = {
    "jobs": "jobs of one client at once (default 64)",
    "tokens": "tokens that one client may run in an hour",
    "bytes": "bytes of answers for one client in an hour",
    "seconds": "seconds of the models' time for one client in an hour",
}


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    serve = add_command(
        commands,
        "serve",
        description="Offer models over HTTP. The app, the commands (--engine URL) and intravisto_core.connect(URL) use "
        "them as if they were open here. Needs the extra serve: pip install 'intravisto[serve]'.",
        epilog="examples:\n  intravisto serve --model demo --port 8400\n"
        "  intravisto serve --model path/to/model --model demo --host 0.0.0.0 --tokens tokens.txt\n"
        "  intravisto serve --model demo --replicas 2\n"
        "  intravisto serve --model openai-community/gpt2 --replicas 1-4 --memory 16 --gpu-memory 24",
    )
    serve.add_argument("--model", action="append", help=f"{SOURCES}; may be given again (default demo)")
    add_spec(serve)
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; others than this machine need --tokens"
    )
    serve.add_argument("--port", type=read_port, default=8400, help="port to listen on (default 8400)")
    serve.add_argument("--tokens", type=Path, metavar="FILE", help="bearer tokens, one a line: NAME TOKEN [jobs=8 …]")
    serve.add_argument(
        "--replicas",
        type=_read_replicas,
        metavar="N",
        help="hold the models in N processes of a Ray cluster, or as many as are needed of N-M (default: in this one)",
    )
    serve.add_argument("--memory", type=float, metavar="GB", help="weights that one process may hold (default: all)")
    serve.add_argument(
        "--gpu-memory",
        type=float,
        metavar="GB",
        help="memory of one GPU: with --replicas each asks for as many GPUs as its models need (default: none)",
    )
    serve.add_argument(
        "--address", metavar="RAY", help="Ray cluster to use with --replicas (default: a new one on this machine)"
    )
    for name, words in OF_REQUEST.items():
        serve.add_argument(f"--most-{name.replace('_', '-')}", type=_read_whole, metavar="N", help=f"most {words}")
    for name, words in OF_CLIENT.items():
        serve.add_argument(f"--client-{name}", type=_read_whole, metavar="N", help=f"most {words}")
    serve.set_defaults(run=_serve)


def _read_whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 15:
        raise argparse.ArgumentTypeError(expected("limit", "a whole number from 0", text))
    return int(text)


def _read_replicas(text: str) -> tuple[int, int]:
    least, _, most = text.partition("-")
    numbers = least, most or least
    if not all(n.isascii() and n.isdecimal() and len(n) < 5 for n in numbers) or not 1 <= int(least) <= int(numbers[1]):
        raise argparse.ArgumentTypeError(expected("replicas", "a number from 1, or two as 1-4", text))
    return int(numbers[0]), int(numbers[1])


def _serve(options: argparse.Namespace) -> int:
    try:
        # the web framework, and torch, are loaded here
        from intravisto_core.service.clients import check_address, find_risks, read_clients
        from intravisto_core.service.limits import Allowance
        from intravisto_core.service.placement import estimate_sizes, name_models, read_gigabytes
        from intravisto_core.service.server import check_port, make_server
    except ModuleNotFoundError as error:
        raise MissingProgramError(
            f"serve: expected the packages of the extra serve; {error.name} is missing. pip install 'intravisto[serve]'"
        ) from None
    models = name_models(read_spec(options, source) for source in options.model or ["demo"])
    given = {f.name: getattr(options, f"client_{f.name}") for f in fields(Allowance)}
    allowance = Allowance(**{name: value for name, value in given.items() if value is not None})
    clients = read_clients(options.tokens, allowance)
    check_address(options.host, clients)
    check_port(options.host, options.port)
    # a model that cannot be read is refused now, not when somebody asks for it
    estimate_sizes(models)
    print_notes(find_risks(options.tokens))
    limits = Limits(**{name: getattr(options, f"most_{name}") for name in OF_REQUEST})
    memory, gpu_memory = (read_gigabytes(name, getattr(options, name)) for name in ("memory", "gpu_memory"))
    if options.replicas is None and gpu_memory is not None:
        todo = "Without it the models run in this process, on the GPUs that it sees"
        raise RequestError(expected("gpu_memory", "replicas beside it", options.gpu_memory, todo))
    where = f"http://{options.host}:{options.port}"
    print_text(f"{', '.join(models)} at {where}; what it answers stands at {where}/docs")
    if options.replicas is None:
        make_server(models, clients, options.host, options.port, of_request=limits, memory=memory).run()
        return 0
    from intravisto_core.service.cluster import Plan, run_cluster

    plan = Plan(
        models=models,
        least=options.replicas[0],
        most=options.replicas[1],
        tokens=None if options.tokens is None else str(options.tokens.resolve()),
        allowance=allowance,
        of_request=limits,
        memory=memory,
        gpu_memory=gpu_memory,
    )
    run_cluster(plan, options.host, options.port, options.address)
    return 0
