"""Options that several commands share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

import intravisto_core as iv
from intravisto_core.cli import opening
from intravisto_core.cli.printing import print_aside
from intravisto_core.errors import ModelError, RequestError, expected
from intravisto_core.figures.export import kind_of
from intravisto_core.request import DEVICES, DTYPES, QUANTISATIONS, Generation, ModelSpec, TraceRequest

if TYPE_CHECKING:
    from intravisto_core.engine import Engine, Trace

SOURCES = (
    '"demo", a model folder, a .gguf file, a name on the Hugging Face Hub (or owner/name:file.gguf), ollama:NAME, or a '
    "LoRA adapter"
)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model a command works on, and how it is loaded."""
    parser.add_argument("--model", help=f"{SOURCES} (default demo); with --engine its name there")
    add_loading(parser)


def add_loading(parser: argparse.ArgumentParser) -> None:
    """Where a model is, and how it is loaded."""
    parser.add_argument("--engine", metavar="URL", help="use a service (intravisto serve); token: $INTRAVISTO_TOKEN")
    add_spec(parser)


def add_spec(parser: argparse.ArgumentParser) -> None:
    """How a model is loaded."""
    parser.add_argument("--revision", metavar="NAME", help="branch, tag or commit of a model on the Hub (default main)")
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help="dtype to load in (default the checkpoint's)")
    parser.add_argument("--quantisation", choices=[q for q in QUANTISATIONS if q], help="8 or 4 bits a weight")
    parser.add_argument("--device-map", choices=DEVICES, default="auto", help="where it is put (default auto)")
    parser.add_argument("--file", metavar="NAME", help="which GGUF file of a folder or repository")
    parser.add_argument("--base", metavar="MODEL", help="model that a LoRA adapter changes (default: as it says)")
    parser.add_argument(
        "--adapter-scale", type=float, default=1.0, metavar="X", help="multiplies a LoRA adapter's change (default 1)"
    )


def add_generation(parser: argparse.ArgumentParser) -> None:
    """How the text goes on."""
    parser.add_argument("--max-new-tokens", type=int, default=0, metavar="N", help="tokens to generate (default 0)")
    parser.add_argument("--temperature", type=float, help="sample at this temperature (default: greedy)")
    parser.add_argument("--top-k", type=int, help="sample among the K most probable")
    parser.add_argument("--top-p", type=float, help="sample among the most probable that make up this probability")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default 0)")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end where this text appears")
    parser.add_argument("--forced", metavar="TEXT", help="text that the continuation begins with")
    parser.add_argument("--no-special-tokens", action="store_true", help="do not add BOS and the like")
    parser.add_argument("--chat", action="store_true", help="a user says the prompt: use the model's chat template")
    parser.add_argument("--system", metavar="TEXT", help="what the model is told before the user speaks (means --chat)")


def add_prompt(parser: argparse.ArgumentParser) -> None:
    """What is run: a text, on which model, and how it goes on."""
    parser.add_argument("prompt", help="the text to run")
    add_model(parser)
    add_generation(parser)


def add_out(parser: argparse.ArgumentParser) -> None:
    """Where the picture is written."""
    parser.add_argument("--out", type=_read_out, metavar="FILE", help="write .html, .csv, .json, .png, .svg or .pdf")


def _read_out(text: str) -> Path:
    """A file that can be written. It is checked before a model is opened, so that nobody waits for the refusal."""
    path = Path(text).expanduser()
    try:
        kind_of(path)
    except RequestError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    check_place(path)
    return path


def check_place(path: Path) -> None:
    """Raises:
    argparse.ArgumentTypeError: no file can be written there.
    """
    wanted, got = "a file that can be written", ""
    try:
        if not path.parent.is_dir():
            wanted, got = "a file in a folder that is there", str(path.parent)
        elif path.is_dir():
            got = "a folder"
        elif not os.access(path.parent, os.W_OK):
            got = f"{path.parent}, where nothing may be written"
        os.lstat(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        got = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if got:
        raise argparse.ArgumentTypeError(expected(str(path)[:80], wanted, got))


def open_engine(options: argparse.Namespace) -> Engine:
    """The engine that `model` and the options of `add_loading` ask for: opened here, or of a service.

    Raises:
        IntravistoError: it cannot be opened; a path that leads nowhere is refused before torch is loaded.
    """
    if options.engine is not None:
        usual = argparse.ArgumentParser()
        add_spec(usual)
        here = [name for name, value in vars(usual.parse_args([])).items() if getattr(options, name) != value]
        if here:
            raise RequestError(
                expected(
                    "engine",
                    "a model as its service has opened it",
                    f"--{here[0].replace('_', '-')}",
                    "Leave it out, or give it to intravisto serve",
                )
            )
        announce_waiting(options.engine)
        return iv.connect(options.engine, options.model)
    spec = read_spec(options, options.model or "demo")
    with opening.report_opening() as report:
        return iv.open_model(spec, report=report)


def announce_waiting(url: str) -> None:
    """Say that nobody answers at a service's address yet: it is asked again for a minute, for it may be beginning.

    Raises:
        RequestError: it is no address.
    """
    # what speaks HTTP is loaded here
    from intravisto_core.engine.connecting import PATIENCE_S, is_there

    if not is_there(url):
        print_aside(f"nobody answers at {url} yet; it is asked again for {PATIENCE_S:.0f} s")


def read_spec(options: argparse.Namespace, source: str) -> ModelSpec:
    """A model as the options of `add_spec` say.

    Raises:
        IntravistoError: an option does not serve, or a path leads nowhere.
    """
    _check_path(source)
    return ModelSpec(
        source,
        revision=options.revision,
        dtype=options.dtype,
        quantisation=options.quantisation,
        device_map=options.device_map,
        file=options.file,
        base=options.base,
        adapter_scale=options.adapter_scale,
    )


def _check_path(source: str) -> None:
    if source.startswith(("/", "./", "../", "~/")) and not os.path.exists(os.path.expanduser(source)):
        raise ModelError(expected("model", SOURCES, source, "Check the path"))


def read_request(options: argparse.Namespace) -> TraceRequest:
    """The run that the options of `add_generation` and a `prompt` ask for, checked before a model is opened.

    Raises:
        RequestError: an option does not serve.
    """
    generation = Generation(
        options.max_new_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.seed,
        stop=tuple(options.stop),
        forced=options.forced,
    )
    return TraceRequest(
        options.prompt,
        generation,
        add_special_tokens=not options.no_special_tokens,
        chat=options.chat or options.system is not None,
        messages=() if options.system is None else (("system", options.system),),
    )


def run_prompt(request: TraceRequest, engine: Engine) -> Trace:
    """Run a request and wait."""
    trace: Trace = engine.submit(request).result()
    return trace
