"""``hf://`` and ``push`` against a server that speaks the Hub's endpoints, and the choice of a model's files."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest
import torch

import darknet_py as dk
from darknet_py import cli
from darknet_py.data.formats import load_dataset
from darknet_py.demo import digits
from darknet_py.errors import DarknetError, DataError
from darknet_py.evaluation.evaluator import evaluate
from darknet_py.hub import catalogue, huggingface
from darknet_py.hub.huggingface import Address, ModelFiles
from darknet_py.publishing.model_card import ModelCard, map_scores, read_scores
from tests.helpers import hub_server, paths

HUB = Address("owner/repo")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://owner/repo", Address("owner/repo")),
        ("hf://owner/repo@v1.0", Address("owner/repo", "v1.0")),
        ("hf://owner/repo@refs%2Fpr%2F1/a/b.cfg", Address("owner/repo", "refs/pr/1", "a/b.cfg")),
        (pathlib.Path("hf://owner/repo/a.pt"), Address("owner/repo", None, "a.pt")),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert huggingface.is_address(text)
    assert huggingface.parse(text) == expected


@pytest.mark.parametrize("text", ["hf://repo", "hf://", "hf:///a/b", "hf://owner/repo@"])
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(DarknetError, match="expected hf://owner/repo, hf://owner/repo@revision or"):
        huggingface.parse(text)


@pytest.mark.parametrize(
    ("files", "file", "expected"),
    [
        (["README.md", "model.safetensors", "a.cfg", "b.safetensors"], None, ModelFiles("model.safetensors")),
        (["x/my.safetensors", "old.pt"], None, ModelFiles("x/my.safetensors")),
        (["a.cfg", "a.weights", "a.names", "b.names"], None, ModelFiles("a.cfg", "a.weights", "a.names")),
        (["a.cfg", "a_final.weights", "coco.names"], None, ModelFiles("a.cfg", "a_final.weights", "coco.names")),
        (["a.cfg", "a.weights", "b.cfg", "b.weights"], "b.weights", ModelFiles("b.cfg", "b.weights")),
        (["a.cfg", "a.weights", "b.cfg", "b.weights"], "a.cfg", ModelFiles("a.cfg", "a.weights")),
        (["my.pt", "log.csv"], None, ModelFiles("my.pt")),
    ],
)
def test_the_files_of_a_model(files: list[str], file: str | None, expected: ModelFiles) -> None:
    assert huggingface.choose(files, Address("owner/repo", None, file)) == expected


@pytest.mark.parametrize(
    ("files", "file", "message"),
    [
        (
            ["README.md", "a.bin"],
            None,
            "expected model.safetensors, or a .cfg with its .weights, found README.md, a.bin",
        ),
        ([], None, "found no files"),
        (["a.weights"], None, "expected model.safetensors, or a .cfg"),
        (
            ["a.cfg", "a.weights", "b.safetensors"],
            None,
            "has 2 models: .* hf://owner/repo/a.weights, hf://owner/repo/b.saf",
        ),
        (["a.safetensors"], "b.safetensors", r"no such file in the repository \(did you mean 'a.safetensors'"),
        (["a.weights", "b.cfg", "c.cfg"], "a.weights", "no .cfg for these weights"),
        (["a.onnx"], "a.onnx", "expected .safetensors, .pt"),
    ],
)
def test_what_is_not_a_model_is_refused(files: list[str], file: str | None, message: str) -> None:
    with pytest.raises(DarknetError, match=message):
        huggingface.choose(files, Address("owner/repo", None, file))


def run(code: str, hub: hub_server.Hub, folder: pathlib.Path, **variables: str) -> list[Any]:
    """Run Python in a new process of that hub and its cache; return what ``say`` was called with.

    ``attempt(*words)`` runs a command line, and returns its exit status and stderr.
    """
    head = (
        "import contextlib, io, json\nimport darknet_py as dk\nfrom darknet_py import cli\n"
        "said = []\nsay = said.append\n"
        "def attempt(*words):\n    err = io.StringIO()\n"
        "    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):\n"
        "        status = cli.main(words)\n    return status, err.getvalue()\n"
    )
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "hf"), "PYTHONPATH": str(paths.ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", f"{head}{code}\nprint(json.dumps(said))"],
        cwd=folder,
        env={**inherited, **environment, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return said


class _Code:
    """An object of a pickle that would make a folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("run",)


def add_repositories(hub: hub_server.Hub, folder: pathlib.Path) -> None:
    """Repositories that ``push`` has not written."""
    safetensors = pytest.importorskip("safetensors.torch", reason="pip install 'darknet-torch[safetensors]'")
    cfg, names = catalogue.cfg_path("digits").read_bytes(), catalogue.names_path("digits")
    weights = catalogue.path("digits")
    assert names is not None
    assert weights is not None
    plain = {"d.cfg": cfg, "d.weights": weights.read_bytes(), "d.names": names.read_bytes()}
    torch.save({"model": _Code()}, folder / "code.pt")
    foreign = safetensors.save({"x": torch.zeros(100_000)}, {"format": "pt"})
    hub.repos |= {
        "owner/plain": plain,
        "owner/secret": plain,
        "owner/code": {"code.pt": (folder / "code.pt").read_bytes()},
        "owner/foreign": {"model.safetensors": foreign},
    }
    hub.private.add("owner/secret")


def test_push_and_load(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("huggingface_hub", reason="pip install 'darknet-torch[hf]'")
    weights = catalogue.path("digits")
    assert weights is not None
    read = (
        "net = dk.load('hf://owner/digits')\ndk.save_weights(net, 'read.weights')\nsay(list(net.names))\n"
        "say(attempt('info', 'hf://owner/digits')[0])\n"
    )
    with hub_server.serve() as hub:
        push = "say(attempt('push', 'digits', 'owner/digits', '--private'))"
        token = f"import os; os.environ['HF_TOKEN'] = {hub_server.TOKEN!r}"
        (status, error), *pushed = run("\n".join((push, token, push, push)), hub, tmp_path)
        assert status == 1
        assert error == (
            "darknet-py: push: no token: log in with `hf auth login`, or set HF_TOKEN to a token with write access\n"
        )
        assert pushed == [[0, ""], [0, ""]]
        assert set(hub.repos["owner/digits"]) == {"README.md", "digits.cfg", "digits.names", "model.safetensors"}
        assert hub.private == {"owner/digits"}
        hub.private.clear()
        add_repositories(hub, tmp_path)
        hub.requests.clear()
        lines = ["plain", "plain@v7", "plain/x.cfg", "secret", "absent", "code", "foreign"]
        attempts = "\n".join(f"say(attempt('check', 'hf://owner/{line}'))" for line in lines)
        names, status, *outcomes = run(read + attempts, hub, tmp_path)
        assert names[:2] == ["zero", "one"]
        assert status == 0
        assert (tmp_path / "read.weights").read_bytes() == weights.read_bytes()
        assert hub.requests.count("GET /owner/digits/resolve/main/model.safetensors") == 2  # the header, the file
        results = dict(zip(lines, outcomes, strict=True))
        assert results.pop("plain") == [0, ""]
        messages = {
            "plain@v7": "hf://owner/plain@v7: no such revision: expected a branch, a tag or a commit",
            "plain/x.cfg": "hf://owner/plain/x.cfg: no such file in the repository",
            "secret": "hf://owner/secret: no such repository at http://127.0.0.1",
            "absent": "or a private one: log in with `hf auth login`, or set HF_TOKEN",
            "code": "expected tensors and plain values, found other objects, which would run code from the file",
            "foreign": "hf://owner/foreign: model.safetensors is a model of another program (format pt): expected",
        }
        for line, (status, error) in results.items():
            assert status == 1, line
            assert error.startswith("darknet-py: "), error
            assert messages[line] in error
            assert "Traceback" not in error
        assert not (tmp_path / "run").exists()
        assert not list((tmp_path / "hf").rglob("models--owner--foreign/snapshots/*/*"))
    uncached = "say(attempt('check', 'hf://owner/other'))"
    *_, (status, error) = run(read + uncached, hub, tmp_path)
    assert (tmp_path / "read.weights").read_bytes() == weights.read_bytes()
    assert status == 1
    assert f"hf://owner/other: not in the cache, and {hub.endpoint} cannot be reached" in error
    *_, (status, error) = run(read + uncached, hub, tmp_path, HF_HUB_OFFLINE="1")
    assert (status, error) == (1, "darknet-py: hf://owner/other: not in the cache, and HF_HUB_OFFLINE is set\n")


def test_without_the_package_it_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("huggingface_hub", "huggingface_hub.constants", "huggingface_hub.errors"):
        monkeypatch.setitem(sys.modules, name, None)
    sentence = "darknet-py: the Hugging Face Hub needs huggingface-hub: pip install 'darknet-torch[hf]'\n"
    for line in (["check", "hf://owner/digits"], ["push", "digits", "owner/digits"]):
        assert cli.main(line) == 1
        assert capsys.readouterr().err == sentence


def test_the_package_is_not_imported_for_other_models() -> None:
    code = "import sys, darknet_py as dk; dk.load('digits'); assert 'huggingface_hub' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, check=True)


def test_the_card_states_the_scores_by_protocol(tmp_path: pathlib.Path) -> None:
    library = pytest.importorskip("huggingface_hub", reason="pip install 'darknet-torch[hf]'")
    network = dk.load("digits")
    data = load_dataset(digits.write_dataset(tmp_path / "set", 1, 4), "valid")
    evaluation = evaluate(network, data, progress=False)
    (tmp_path / "map.json").write_text(json.dumps(evaluation.to_dict()))
    scores = [*read_scores(tmp_path / "map.json"), *map_scores(evaluation, "other", "test")]
    text = ModelCard("owner/repo", network, "digits.cfg", "Trained on digits.", scores, "mit").to_markdown()
    card = library.ModelCard(text)
    assert (card.data.library_name, card.data.license, card.data.model_name) == ("darknet_py", "mit", "repo")
    assert card.data.pipeline_tag == "object-detection"
    found = [(r.dataset_name, r.dataset_split, r.metric_name, r.metric_value) for r in card.data.eval_results]
    value = round(evaluation.map, 6)
    assert found == [
        ("digits", "valid", "mAP@0.50 (darknet)", value),
        ("other", "test", "mAP@0.50 (darknet)", value),
    ]
    for part in ("| cfg | `digits.cfg`, 29 layers |", "Trained on digits.", "hf://owner/repo", f"{100 * value:.2f} %"):
        assert part in text
    unrated = library.ModelCard(ModelCard("owner/repo", network, "digits.cfg", "").to_markdown())
    assert unrated.data.to_dict().keys() == {"library_name", "pipeline_tag", "tags"}
    assert "Not evaluated." in unrated.text


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"protocol": "darknet", "rule": "r", "images": 4, "match_iou": "x"}', "a"]
)
def test_scores_of_another_file_are_refused(content: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "map.json").write_text(content)
    with pytest.raises(DataError, match=r"map\.json: "):
        read_scores(tmp_path / "map.json")


def test_a_folder_is_written_without_the_hub(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub", reason="pip install 'darknet-torch[hf]'")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["push", "digits", "owner/digits", "-o", "out", "--origin", "A test."]) == 0
    assert "A test. Loaded from `digits.cfg` (SHA-256" in pathlib.Path("out/README.md").read_text()
    first, second = dk.load("out/model.safetensors").state_dict(), dk.load("digits").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in second)
