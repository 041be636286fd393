"""The commands that there are, and how one is added to the parser."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

FORMAT: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter}

# each command: the module that adds it, and what it is for
COMMANDS = {
    "trace": ("trace", "run a prompt and show what every layer would predict"),
    "explain": ("explain", "say where a token comes from: which words, which layers, which heads and MLPs"),
    "saliency": ("saliency", "show which tokens of the text a prediction depends on"),
    "attention": ("attention", "show where each token looks, and what each head does with its attention"),
    "flow": ("flow", "show from which tokens a prediction comes, and on which way"),
    "attribute": ("flow", "show what each part of the model adds to a token's logit"),
    "edit": ("edit", "change something inside a run and see what follows"),
    "test": ("evidence", "test over prompts, beside controls, whether an edit does what it is said to do"),
    "circuit": ("circuit", "find the heads and MLPs that do a task without the rest of the model"),
    "patch": ("patch", "show which values carry the difference of two prompts"),
    "measures": ("measures", "test which picture foretells what edits do, on a model and prompts of your own"),
    "inspect": ("inspect", "show what a model is made of, and what runs after what"),
    "layer": ("layer", "say what layers wrote at one position, and which heads and neurons wrote it"),
    "save": ("saved", "run a prompt and keep the run in one file, which opens without the model"),
    "open": ("saved", "show a saved run, without its model"),
    "check": ("check", "hold a model to the identities that every picture rests on"),
    "batch": ("batch", "views of many prompts as Parquet, with their means"),
    "serve": ("serve", "offer models to other programs and machines"),
    "app": ("app", "start the app in the browser"),
}

# what is taken for an option, as it begins with a dash; by the words of argparse
_DASHES = {
    "expected one argument": "; a value that begins with a dash is joined with =, as in --system=-x",
    "are required": "; a text that begins with a dash stands last, behind --",
    "unrecognized": "; a text that begins with a dash stands last, behind --",
}


class Parser(argparse.ArgumentParser):
    """Says one clear line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        hint = next((hint for words, hint in _DASHES.items() if words in message), "")
        self.exit(2, f"{self.prog}: error: {message}{hint} (see {self.prog} --help)\n")


def add_command(commands: Any, name: str, **options: Any) -> argparse.ArgumentParser:
    """Add the parser of a command. options: as `argparse.ArgumentParser` takes them."""
    added: argparse.ArgumentParser = commands.add_parser(name, help=COMMANDS[name][1], **FORMAT, **options)
    return added
