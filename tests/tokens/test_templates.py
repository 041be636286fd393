"""Chat templates: what the reader typed is there or it is refused, and what never ends is ended."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

import intravisto_core as iv
from intravisto_core.chat_template import ChatTemplate
from intravisto_core.limited import LimitedProgram

TALK = (("system", "Be brief."), ("user", 'Say "ä"\n twice'), ("assistant", "ää"), ("user", "again"))
NAMED = {"bos_token": "<s>", "eos_token": "</s>", "additional_special_tokens": ["<x>"]}

TEMPLATES = {
    "plain": "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}\n{% endfor %}<a>",
    "with a loop control": (
        "{% for m in messages %}{% if loop.index > 9 %}{% break %}{% endif %}{{ m['content'] }}{% endfor %}"
    ),
    "json": "{% for m in messages %}{{ m | tojson }}{% endfor %}",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "namespace": (
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{{ m.content }}"
        "{% endfor %}{% if add_generation_prompt %}:{% endif %}"
    ),
    "macro": "{% macro w(m) %}[{{ m.content | trim }}]{% endmacro %}{% for m in messages %}{{ w(m) }}{% endfor %}",
    "dict": "{% set d = dict(a=1) %}{{ d.items() | list }}{% for m in messages %}{{ m.content }}{% endfor %}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_writes_what_transformers_writes(name):
    messages = [{"role": role, "content": text} for role, text in TALK]
    expected, _ = render_jinja_template([messages], chat_template=TEMPLATES[name], add_generation_prompt=True, **NAMED)
    assert ChatTemplate(TEMPLATES[name], NAMED).write(TALK) == expected[0]


PARTS = (
    "{% for m in messages %}<{{ m.role }}>{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}"
    "{% endif %}{% endfor %}{% endfor %}"
)


def test_a_template_for_lists_of_parts_prints_the_text():
    written = ChatTemplate(PARTS, {}).write(TALK)
    assert written == '<system>Be brief.<user>Say "ä"\n twice<assistant>ää<user>again'


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("<user>", "leaves out the text of the system"),
        (
            "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}",
            "leaves out the text of the system",
        ),
        ("{{ messages[0].content }}", "leaves out the text of the user"),
        ("{% for m in messages %}{{ m.content[0].type }}{% endfor %}", "leaves out"),
        ("{{ raise_exception('no system role') }}", r"refuses a conversation of system, user.*no system role"),
        ("{% if %}", r"cannot be read \(TemplateSyntaxError.*Run the prompt without chat"),
        ("{{ messages | no_such_filter }}", "cannot be read"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% set n = namespace(a=1) %}{% set n.__class__ = 1 %}", "refuses"),
        ("{{ 'a' * 99999999999 }}", "stopped: it takes more than"),
        (
            "{% set n = namespace(x='a'*99) %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
            "stopped",
        ),
        ("{% for i in range(99999) %}{{ 'abcdefghij' * 99 }}{% endfor %}", "stopped: it writes more than 4,194,304"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "stopped: it does not end"),
        ("{{ 7 ** 99999999 }}", "stopped"),
    ],
)
def test_a_template_that_cannot_serve_is_refused(template, said):
    with pytest.raises(iv.RequestError, match=said):
        ChatTemplate(template, {}, seconds=2).write(TALK)


def test_a_template_that_runs_on_holds_nobody_up():
    template = ChatTemplate(
        "{% if messages[0].content == 'loop' %}{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}"
        "{% endfor %}{% endif %}{{ messages[0].content }}",
        {},
        seconds=3,
    )
    caught = []

    def run_on():
        with pytest.raises(iv.RequestError, match="does not end within 3 s") as error:
            template.write((("user", "loop"),))
        caught.append(error)

    thread = threading.Thread(target=run_on)
    thread.start()
    for _ in range(5):
        assert template.write((("user", "hello"),)) == "hello"
    assert thread.is_alive(), "the others did not wait for it"
    thread.join()
    assert caught
    assert len(template._program._idle) == 1, "that of the endless one was ended"


def test_a_template_leaves_no_process_behind():
    template = ChatTemplate(TEMPLATES["plain"], NAMED)
    template.write(TALK)
    (process,) = template._program._idle
    assert process.poll() is None
    del template
    assert process.poll() is not None


def test_the_program_has_no_secrets(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    program = LimitedProgram({"template": "{{ messages }}", "variables": {}})
    assert program.ask([1]) == "[1]"
    (process,) = program._idle
    environment = Path(f"/proc/{process.pid}/environ")
    assert not environment.exists() or b"hf_secret" not in environment.read_bytes()


OWN = (
    "{% if messages[0].role == 'system' %}<s>{{ messages[0].content }}</s>{% else %}<s>You are Q.</s>{% endif %}"
    "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}<a>"
)


def test_a_system_prompt_of_the_templates_own_is_said(case, monkeypatch):
    template = ChatTemplate(OWN, {})
    assert template.own_system_prompt((("user", "hi"),)) == "You are Q."
    assert template.own_system_prompt((("system", "x"), ("user", "hi"))) == ""
    assert ChatTemplate(TEMPLATES["plain"], NAMED).own_system_prompt((("user", "hi"),)) == ""
    engine = case("llama").engine
    monkeypatch.setattr(engine.kept_traces.model.tokenizer, "chat_template", OWN)
    noted = engine.trace("hi", chat=True).notes
    assert "the model's chat template adds a system prompt of its own: “You are Q.”" in noted
    assert not engine.trace("hi", chat=True, messages=(("system", "x"),)).notes
