"""A program of its own, for `limited.py`: renders a chat template or splits texts into tokens, with limits.

It imports nothing of this package, so that it starts in a tenth of a second. The first line of its input says what it
has, every later one asks for something, and each of these is answered by one line. `null` asks only whether what it has
could be read.
"""

from __future__ import annotations

import datetime
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

MEMORY = {"template": 1 << 30, "tokenizer": 2 << 30}
LONGEST = 4 << 20

Answer = Callable[[Any], dict[str, Any]]


def limit_memory(most: int) -> None:
    """Where the system can: an allocation beyond it fails."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def limit_seconds(seconds: float) -> None:
    """End this program after so long, also where nobody is there any more to end it; 0: never."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def environment() -> Any:
    """What templates are written for: the names and rules that transformers gives them, in jinja's sandbox."""
    import jinja2.ext
    import jinja2.sandbox
    import jinja2.utils

    class Generation(jinja2.ext.Extension):
        """`{% generation %}`, which marks what a model is trained on: its content, as it is."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    class Names(jinja2.utils.Namespace):
        """A namespace without names of Python's own."""

        def __setitem__(self, name: str, value: Any) -> None:
            if str(name).startswith("_"):
                raise jinja2.sandbox.SecurityError(f"a namespace takes no name such as {name}")
            super().__setitem__(name, value)

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def to_json(
        x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = to_json
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    made.globals["dict"] = lambda *pairs, **named: dict(*pairs, **named)
    made.globals["namespace"] = Names
    return made


def template(setup: dict[str, Any]) -> Answer:
    """Renders lists of messages."""
    made = environment().from_string(setup["template"])

    def render(messages: Any) -> dict[str, Any]:
        pieces, length = [], 0
        for piece in made.generate(**setup["variables"], messages=messages, add_generation_prompt=True):
            length += len(piece)
            if length > LONGEST:
                return {"limit": f"writes more than {LONGEST:,} characters"}
            pieces.append(piece)
        return {"found": "".join(pieces)}

    return render


def tokenizer(setup: dict[str, Any]) -> Answer:
    """Splits a text into ids, or puts lists of ids together to texts."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_str(setup["tokenizer"])
    made.no_truncation()
    made.no_padding()

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        if "text" in asked:
            return {"found": made.encode(asked["text"], add_special_tokens=asked["special"]).ids}
        return {"found": made.decode_batch(asked["ids"], skip_special_tokens=asked["skip"])}

    return answer


def main() -> None:
    """Answer until the input ends."""
    lines, out = sys.stdin.buffer, sys.stdout.buffer
    setup = json.loads(lines.readline())
    kind = "template" if "template" in setup else "tokenizer"
    limit_memory(MEMORY[kind])
    failed, answer = "", None
    limit_seconds(setup["seconds"] + 1)
    try:
        answer = template(setup) if kind == "template" else tokenizer(setup)
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"[:500]
    limit_seconds(0)
    for line in lines:
        limit_seconds(setup["seconds"] + 1)
        try:
            asked = json.loads(line)
            said = {"broken": failed} if answer is None else {"found": None} if asked is None else answer(asked)
        except MemoryError:
            said = {"limit": f"takes more than {MEMORY[kind] >> 20} MB of memory"}
        except Exception as error:
            said = {"error": f"{type(error).__name__}: {error}"[:500]}
        limit_seconds(0)
        out.write(json.dumps(said).encode() + b"\n")
        out.flush()


if __name__ == "__main__":
    main()
