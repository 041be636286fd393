"""`intravisto attention`: what it says and what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from intravisto_core.cli import main
from intravisto_core.figures import attention_page

PROMPT = "abc abc abc"


@pytest.fixture
def ask(tiny_llama, capsys):
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["attention", PROMPT, "--model", str(tiny_llama), *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_it_lists_the_heads_that_give_most_to_each_kind(ask):
    code, out, _ = ask()
    assert code == 0
    lines = out.splitlines()
    assert [line.split("  ")[0] for line in lines if " of all · " in line] == [
        *("sink", "itself", "after same token", "same token", "previous", "last 8", "farther")
    ]


def test_heads_of_some_layers(ask):
    code, out, _ = ask("--layers", "0,-1")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:9]] == [
        f"L{layer}H{head}" for layer in (0, 2) for head in range(4)
    ]


def test_chosen_heads_of_a_layer(ask):
    every = ask("--layers", "1")[1].splitlines()
    code, out, _ = ask("--layers", "1", "--heads", "2,-4")
    assert code == 0
    assert out.splitlines()[1:3] == [every[3], every[1]]
    mean = ask("--layers", "1", "--heads", "mean")[1].splitlines()
    assert mean[1].split()[0] == "L1"
    shares = [[float(part) for part in line.replace("%", "").split()[1:]] for line in (mean[1], *every[1:5])]
    assert shares[0] == pytest.approx([sum(column) / 4 for column in zip(*shares[1:], strict=True)], abs=0.11)


def test_one_page_or_a_folder_of_them(ask, tmp_path, monkeypatch):
    assert ask("--out", str(tmp_path / "a.html"))[1] == f"wrote {tmp_path / 'a.html'}\n"
    assert "<!doctype html>" in (tmp_path / "a.html").read_text("utf-8")[:40]
    monkeypatch.setattr(attention_page, "LARGEST_FILE", 100)
    _, out, _ = ask("--layers", "1", "--out", str(tmp_path / "b.html"))
    assert "b/index.html, with 1 pages" in out.replace("\\", "/")
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["index.html", "layer_01_heads_00-03.html"]


@pytest.mark.parametrize(
    ("name", "options", "first"),
    [
        ("targets.csv", [], "layer,head,sink,itself,after_same,same,previous,last_8,farther"),
        ("heads.csv", ["--layers", "1", "--heads", "0,2"], "layer,head,query,key,query_token,key_token,attention"),
        ("mean.html", ["--layers", "1", "--heads", "mean"], "<!doctype html>"),
    ],
)
def test_other_files(ask, tmp_path, name, options, first):
    out = tmp_path / name
    assert ask(*options, "--out", str(out))[0] == 0
    assert Path(out).read_text("utf-8-sig").lower().startswith(first)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--heads", "1"], "--heads: expected one layer beside it"),
        (["--layers", "9"], "layers: expected -3 to 2; got 9"),
    ],
)
def test_what_does_not_fit_is_said(ask, options, words):
    code, _, err = ask(*options)
    assert code == 2
    assert words in err


@pytest.mark.parametrize("options", [["--layers", "a"], ["--heads", "x,1"], ["--sinks", "away"]])
def test_what_cannot_be_read_is_refused_before_a_model_is_opened(options, capsys):
    with pytest.raises(SystemExit):
        main(["attention", PROMPT, "--model", "nowhere", *options])
    assert "intravisto attention" in capsys.readouterr().err
