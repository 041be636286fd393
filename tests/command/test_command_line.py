"""The command line: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from intravisto_core.cli import app as app_command
from intravisto_core.cli import check as check_command
from intravisto_core.cli import main, options, read_arguments
from intravisto_core.cli import trace as trace_command
from intravisto_core.cli.parser import COMMANDS, Parser
from intravisto_core.experiments import families
from intravisto_core.experiments import tiny as product_tiny
from intravisto_core.records import Check
from intravisto_core.request import ModelSpec
from intravisto_core.sites import Capability
from tests import tiny
from tests.loading.gguf_writing import of_folder

ROOT = Path(__file__).parents[2]
PROMPT = "ab c!ab"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    try:
        code = main([str(a) for a in arguments])
    except SystemExit as end:
        code = end.code
    out = capsys.readouterr()
    return int(code or 0), out.out, out.err


def test_trace_writes_a_page_that_works_offline(capsys, tiny_llama, tmp_path):
    page = tmp_path / "x.html"
    code, out, _ = run(
        capsys,
        "trace",
        PROMPT,
        "--model",
        tiny_llama,
        "--max-new-tokens",
        4,
        "--lens",
        "linear",
        "--out",
        page,
    )
    assert code == 0
    assert str(page) in out
    html = page.read_text(encoding="utf-8")
    assert html.lstrip().lower().startswith("<!doctype html>")
    for outside in ('src="http', 'href="http', "src='http", 'import("http', "@import"):
        assert outside not in html


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_trace_writes_tables(capsys, tiny_llama, tmp_path, kind):
    file = tmp_path / f"x.{kind}"
    assert run(capsys, "trace", PROMPT, "--model", tiny_llama, "--out", file)[0] == 0
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) > 8 * 5 if kind == "csv" else json.loads(text)


def test_trace_without_out_shows_the_text(capsys, tiny_llama, case):
    code, out, _ = run(capsys, "trace", PROMPT, "--model", tiny_llama, "--max-new-tokens", 4)
    assert code == 0
    assert case("llama").engine.trace(PROMPT, max_new_tokens=4).text.strip() in out


SAMPLED = {"temperature": 0.9, "top_k": 5, "top_p": 0.9, "seed": 4}
ASKED = [
    (["--max-new-tokens", 3], {"max_new_tokens": 3}, {}),
    (
        ["--max-new-tokens", "6", "--temperature", "0.9", "--top-k", "5", "--top-p", "0.9", "--seed", "4"],
        {"max_new_tokens": 6, **SAMPLED},
        {},
    ),
    (
        ["--max-new-tokens", 4, "--forced", "xyz", "--stop", "z"],
        {"max_new_tokens": 4, "forced": "xyz", "stop": ("z",)},
        {},
    ),
    (["--no-special-tokens"], {"add_special_tokens": False}, {}),
    (["--component", "mlp", "--lens", "quadratic"], {}, {"component": "mlp", "lens": "quadratic"}),
    (["--norm", "none", "--top-k-shown", 3], {}, {"norm": "none", "top_k": 3}),
    (["--reading", "iterative"], {}, {"reading": "iterative"}),
]


@pytest.mark.parametrize(("words", "traced", "seen"), ASKED, ids=[str(a[0][0]).strip("-") for a in ASKED])
def test_options_ask_what_the_library_is_asked(capsys, case, monkeypatch, tmp_path, words, traced, seen):
    engine = case("llama").engine
    monkeypatch.setattr(trace_command, "open_engine", lambda _: engine)
    assert run(capsys, "trace", PROMPT, *words, "--out", tmp_path / "x.json")[0] == 0
    wanted = engine.trace(PROMPT, **traced).heatmap(**seen).save(tmp_path / "y.json")
    told, asked = (json.loads(Path(p).read_text()) for p in (tmp_path / "x.json", wanted))
    assert told.pop("trace") != asked.pop("trace")
    assert told == asked
    plain = json.loads(Path(engine.trace(PROMPT).heatmap().save(tmp_path / "z.json")).read_text())
    assert {k for k in plain if k != "trace" and plain[k] != told[k]}, "the options change something"


def test_every_option_of_a_trace_is_tried_here():
    tried = {str(word) for words, _, _ in ASKED for word in words if str(word).startswith("--")}
    elsewhere = {"--help", "--engine", "--model", "--out", "--chat", "--system", *LOADING}
    parser = Parser()
    trace_command.add(parser.add_subparsers())
    text = parser.parse_args(["trace", "x"])
    assert {"--" + name.replace("_", "-") for name in vars(text) if name not in ("prompt", "run")} <= tried | elsewhere


LOADING = {"--revision": "v1", "--dtype": "bfloat16", "--quantisation": "int8", "--device-map": "cpu"}
LOADING |= {"--file": "x.Q8_0.gguf", "--base": "owner/base", "--adapter-scale": "0.5"}


@pytest.mark.parametrize("command", [["trace", "x", "--model"], ["check"]])
def test_loading_options_make_the_spec(capsys, monkeypatch, command):
    asked = []

    class Stop(Exception):
        pass

    def note(spec, report):
        asked.append(spec)
        raise Stop

    monkeypatch.setattr(options.iv, "open_model", note)
    with pytest.raises(Stop):
        run(capsys, *command, "owner/name", *(word for pair in LOADING.items() for word in pair))
    assert asked == [ModelSpec("owner/name", "v1", "bfloat16", "int8", "cpu", "x.Q8_0.gguf", "owner/base", 0.5)]


def test_a_file_that_lies_elsewhere_is_refused(capsys):
    code, _, err = run(capsys, "trace", PROMPT, "--model", "owner/name", "--file", "../x.gguf")
    assert code != 0
    assert "file: expected a name such as" in err


@pytest.mark.parametrize("arguments", [["--chat"], ["--system", "ab"]])
def test_chat_goes_through_the_models_template(capsys, tmp_path, arguments):
    folder = tiny.save_chat_model(tiny.build_character_model("llama"), tmp_path / "chat")
    code, _, _ = run(capsys, "trace", "c", "--model", folder, *arguments, "--out", tmp_path / "x.json")
    assert code == 0
    read = [t["shown"] for t in json.loads((tmp_path / "x.json").read_text())["tokens"]]
    system = ["<system>", "a", "b", "<eos>"] if "--system" in arguments else []
    assert read == ["<bos>", *system, "<user>", "c", "<eos>", "<assistant>"]


def test_chat_without_a_template_is_refused(capsys, tiny_llama):
    code, _, err = run(capsys, "trace", "c", "--model", tiny_llama, "--chat")
    assert code == 2
    assert "template" in err


def test_the_table_reads_and_says(capsys, case, monkeypatch):
    engine = case("llama").engine
    monkeypatch.setattr(trace_command, "open_engine", lambda _: engine)
    _, out, _ = run(capsys, "trace", PROMPT, "--max-new-tokens", 2)
    trace = engine.trace(PROMPT, max_new_tokens=2)
    grid = trace.heatmap()
    table = out.splitlines()[len(trace.text.splitlines()) :]
    lines = {line[:11].strip(): line[12:] for line in table}
    assert list(lines) == ["reads", "says", "final norm", "layer 2", "layer 1", "layer 0", "embeddings"]
    assert [lines["reads"][14 * i :][:13].strip() for i in range(6)] == [t.shown for t in trace.tokens[-6:]]
    assert [lines["says"][14 * i :][:13].strip() for i in range(6)] == [grid.shown[int(i)] for i in grid.says[-6:]]
    last = lines["layer 1"][14 * 5 :].split()
    assert last == [grid.shown[int(grid.token_ids[2, -1, 0])], f"{100 * grid.p_max[2, -1]:.0f}%"]


def test_notes_of_a_grid_are_told(capsys, case, monkeypatch):
    engine = case("llama").engine
    monkeypatch.setattr(trace_command, "open_engine", lambda _: engine)
    _, out, _ = run(capsys, "trace", PROMPT, "--component", "attention", "--norm", "final")
    notes = engine.trace(PROMPT).heatmap("attention", norm="final").notes
    assert notes
    assert [line for line in out.splitlines() if line.startswith("note: ")] == [f"note: {n}" for n in notes]


def test_check_shows_every_identity_with_its_error(capsys, tiny_gpt2, case):
    code, out, _ = run(capsys, "check", tiny_gpt2)
    assert code == 0
    card = case("gpt2").engine.model
    assert f"{card.n_layers} layers, {card.n_heads} heads" in out
    lines = {line.split()[1]: line for line in out.splitlines() if line.startswith("  ")}
    assert list(lines) == [str(c) for c in Capability if c in card.capabilities]
    for capability, found in card.capabilities.items():
        line = lines[str(capability)]
        assert line.split()[0] == "ok"
        assert capability.label in line
        assert f"(allowed {found.allowed:.0e})" in line
        told = float(line.split("error ")[1].split(",")[0].split(" ")[0])
        assert told == pytest.approx(found.error, rel=0.06, abs=1e-12)
        assert ("not bit-equal" in line) is (found.exact is False)


def test_a_failed_check_is_exit_code_1_and_a_missing_part_is_not(capsys, case, monkeypatch):
    engine = case("gpt2").engine
    card = engine.model
    for check, code, mark in (
        (Check(False, 0.5, "too far off", 1e-5), 1, "FAIL"),
        (Check(False, None, "this family has no such part"), 0, "–"),
    ):
        changed = replace(card, capabilities={**card.capabilities, Capability.HEADS: check})
        monkeypatch.setattr(check_command, "open_engine", lambda _, c=changed: SimpleNamespace(model=c))
        told, out, _ = run(capsys, "check", "any")
        assert told == code
        line = next(line for line in out.splitlines() if "heads add up" in line)
        assert line.split()[0] == mark
        assert line.endswith(check.reason)


def test_check_of_all_families_writes_their_table(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(families, "survey_families", lambda configs: list(configs)[:1])
    monkeypatch.setattr(families, "write_page", lambda *groups: f"{groups}")
    assert run(capsys, "check", "--all-tiny", "--out", tmp_path / "f.md")[0] == 0
    _, out, _ = run(capsys, "check", "--all-tiny")
    groups = tuple([next(iter(c))] for c in (product_tiny.CONFIGS, product_tiny.UNDECLARED, product_tiny.REFUSED))
    assert out.strip() == (tmp_path / "f.md").read_text() == f"{groups}"


def test_the_app_is_started_on_the_port_that_was_asked_for(capsys, monkeypatch):
    called = []
    monkeypatch.setattr(
        app_command.subprocess, "call", lambda command, cwd, env: called.append((command, cwd, env)) or 3
    )
    monkeypatch.delenv("INTRAVISTO_ENGINE", raising=False)
    assert run(capsys, "app", "--port", 8765)[0] == 3
    ((command, cwd, env),) = called
    assert "INTRAVISTO_ENGINE" not in env
    assert command[1:4] == ["-m", "streamlit", "run"]
    assert Path(command[4]) == ROOT / "app.py"
    assert command[command.index("--server.port") + 1] == "8765"
    assert Path(cwd) == ROOT


def test_the_app_without_its_pages_says_where_they_are(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(app_command.find_script, "__defaults__", (tmp_path,))
    code, _, err = run(capsys, "app")
    assert code == 2
    assert "Install the package again" in err
    installed = tmp_path / "intravisto_ui" / "app" / "app.py"
    installed.parent.mkdir(parents=True)
    installed.touch()
    assert app_command.find_script(tmp_path) == installed
    assert app_command.find_script() == installed
    (tmp_path / "app.py").touch()
    assert app_command.find_script(tmp_path) == tmp_path / "app.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_list_is_there(capsys, name):
    code, out, _ = run(capsys, name, "--help")
    assert (code, out.split()[:3]) == (0, ["usage:", "intravisto", name])


@pytest.mark.parametrize("command", [[], ["trace"], ["flow"], ["attribute"], ["check"]])
def test_examples_of_the_help_can_be_typed(capsys, command):
    code, out, _ = run(capsys, *command, "--help")
    assert code == 0
    examples = [line.strip() for line in out.split("example", 1)[1].splitlines() if line.startswith("  intravisto ")]
    assert examples
    for line in examples:
        assert read_arguments(shlex.split(line)[1:]).run


WRONG = [
    (["trace", "abc", "--model", "no/such-model"], "no/such-model"),
    (["check", "no/such-model"], "no/such-model"),
    (["trace", "abc", "--lens", "best"], "quadratic"),
    (["trace", "abc", "--max-new-tokens", "many"], "many"),
    (["trace", "abc", "--max-new-tokens", "5000"], "1024"),
    (["trace", "abc", "--no-such-option"], "--no-such-option"),
    (["trace", ""], "prompt"),
    (["trace", "abc", "--out", "x.docx"], "html"),
    (["trace", "abc", "--temperature", "0"], "temperature"),
    (["flow", "abc", "--rows", "3"], "0:4"),
    (["flow", "abc", "--position", "last"], "generated"),
    (["flow", "abc", "--measure", "size"], "projection"),
    (["trace", "abc", "--system", "-x"], "joined with =, as in --system=-x"),
    (["trace", "--model", "-x", "abc"], "joined with ="),
    (["open", "-x"], "stands last, behind --"),
    (["trace", "abc", "-x"], "stands last, behind --"),
    (["trace", "abc", "--out", "a\0b.html"], "null"),
    (["trace", "abc", "--out", "x" * 300 + ".html"], "too long"),
    (["save", "abc", "--out", "x" * 300 + ".intravisto"], "too long"),
    (["app", "--port", "-1"], "a number from 1 to 65535"),
    (["app", "--port", "70000"], "a number from 1 to 65535"),
    (["paint"], "trace"),
    ([], "COMMAND"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_a_wrong_command_is_one_clear_line_and_code_2(capsys, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1, err
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_one_clear_line(capsys, tiny_llama):
    code, _, err = run(capsys, "trace", PROMPT, "--model", tiny_llama, "--out", "/no/such/folder/x.html")
    assert code != 0
    assert "/no/such/folder" in err
    assert "Traceback" not in err


def test_a_folder_is_no_file_to_write_to(capsys, tmp_path):
    (tmp_path / "x.html").mkdir()
    code, _, err = run(capsys, "trace", PROMPT, "--out", tmp_path / "x.html")
    assert (code, "expected a file that can be written; got 'a folder'" in err) == (2, True)


def test_a_tilde_is_the_home_folder(capsys, tiny_llama, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(capsys, "trace", PROMPT, "--model", tiny_llama, "--out", "~/x.csv")[0] == 0
    assert (tmp_path / "x.csv").is_file()


def test_what_begins_with_a_dash_can_be_typed(capsys, tiny_llama):
    for words in (["--", "-a"], ["--forced=-a", "ab"]):
        assert "-a" in run(capsys, "trace", "--model", tiny_llama, *words)[1]


def test_a_gguf_file_by_its_path(capsys, tiny_llama, tmp_path):
    file = of_folder(tiny_llama, tmp_path / "tiny.gguf")
    assert run(capsys, "trace", PROMPT, "--model", file)[0] == 0
    code, _, err = run(capsys, "trace", PROMPT, "--model", tmp_path / "none.gguf")
    assert (code, "none.gguf" in err) == (2, True)


def test_the_module_is_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "intravisto_core", "trace", "abc", "--lens", "best"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "quadratic" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_is_saved_and_opened_without_the_model(capsys, tiny_llama, tmp_path):
    path = tmp_path / "run.intravisto"
    made = run(capsys, "save", PROMPT, "--model", tiny_llama, "--views", "heatmap, flow", "--out", path)
    assert made[0] == 0
    assert f"wrote {path}" in made[1]
    code, out, _ = run(capsys, "open", path)
    assert code == 0
    assert "final norm" in out
    assert run(capsys, "open", path, "--view", "flow", "--out", tmp_path / "x.html")[0] == 0
    code, _, error = run(capsys, "open", path, "--view", "graph")
    assert code == 2
    assert "GraphView" in error
    assert run(capsys, "open", tmp_path / "none.intravisto")[0] == 2


def test_wrong_options_of_save_are_refused_before_the_model_opens(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(options.iv, "open_model", pytest.fail)
    good = tmp_path / "run.intravisto"
    for wrong in (
        ["--out", tmp_path / "run.html"],
        ["--out", tmp_path / "no" / "run.intravisto"],
        ["--out", good, "--views", "heatmaps"],
        ["--out", good, "--activations", "nothing"],
        ["--out", good, "--top-p", "0.5"],
        [],
    ):
        assert run(capsys, "save", PROMPT, *wrong)[0] == 2


def test_saliency_lists_the_tokens_and_writes_a_page(capsys, tiny_llama, tmp_path):
    code, out, _ = run(capsys, "saliency", PROMPT, "--model", tiny_llama, "--target", "a", "--method", "occlusion")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("a, after position 7: ")
    assert [int(line.split()[-2]) for line in lines[1:9]] == list(range(8))
    assert lines[1].split()[0] == "held", "<bos> stays"
    page = tmp_path / "x.html"
    options = ("--method", "integrated_gradients", "--reference", "zero", "--position", -1, "--contrast", "b")
    code, out, _ = run(capsys, "saliency", PROMPT, "--model", tiny_llama, "--target", "a", *options, "--out", page)
    assert code == 0
    assert page.read_text(encoding="utf-8").count("<span class=") == 8
    code, _, error = run(capsys, "saliency", PROMPT, "--model", tiny_llama, "--draws", 0)
    assert (code, "draws: expected 1 to 64; got 0" in error) == (2, True)
