"""What the pages promise: complete, true to the code, with links that lead somewhere and examples that run."""

import importlib
import keyword
import pathlib
import pkgutil
import re
import shlex
from typing import Any

import keras
import numpy as np
import pytest

import racl_tf
from racl_tf.runs import flags

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))])
PACKAGES = [
    module.name
    for module in pkgutil.iter_modules(racl_tf.__path__)
    if module.ispkg and module.name not in ("bin", "configs")  # which only an installation has there
]


def blocks(page: str) -> list[str]:
    """Returns the page's blocks of Python."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def run(code: str, page: str, *changes: tuple[str, str]) -> dict:
    """Runs a page's code with other sizes and returns its names."""
    for printed, small in changes:
        assert printed in code
        code = code.replace(printed, small)
    names: dict = {}
    exec(compile(code, page, "exec"), names)
    return names


def resolve(name: str) -> Any:
    """Returns what a dotted name stands for: what a package exports, before a module of the same name."""
    found, path = racl_tf, "racl_tf"
    for part in name.split(".")[1:]:
        path = f"{path}.{part}"
        if not hasattr(found, part):
            importlib.import_module(path)
        found = getattr(found, part)
    return found


def equations(text: str | None) -> set[str]:
    """Returns what a docstring names of the paper: "Eqs. 8 to 10" and "Section 2.2" are Eq. 8, ..., Section 2.2."""
    named: set[str] = set()
    for first, joint, last in re.findall(r"Eqs?\. (\d+)(?: (to|and) (\d+))?", text or ""):
        numbers = range(int(first), int(last) + 1) if joint == "to" else (first, last or first)
        named |= {f"Eq. {number}" for number in numbers}
    return named | set(re.findall(r"Section \d+\.\d+", text or ""))


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_every_record_has_the_version_of_the_package() -> None:
    (cited,) = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    newest, *_ = re.findall(r"^## \[(\d.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert cited == newest == racl_tf.__version__


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2].partition("\ntheme:")[0]
    listed = re.findall(r"[\w/-]+\.(?:md|ipynb)", navigation)
    there = [str(path.relative_to(DOCS)) for pattern in ("*.md", "*.ipynb") for path in DOCS.rglob(pattern)]
    assert sorted(listed) == sorted(there)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_is_there(page: pathlib.Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), target
    places = r"`((?:racl_tf|bin|configs|docs|benchmarks|tests)/[\w/.]*)`"
    for target in re.findall(places, re.sub(r"^`[^`]+`:$", "", text, flags=re.MULTILINE)):  # but files to be made
        assert (ROOT / target).exists(), target


def test_every_dotted_name_stands_for_something() -> None:
    """In pages and in docstrings."""
    texts = [path.read_text() for path in [*PAGES, *(ROOT / "racl_tf").rglob("*.py")]]
    names = {name for text in texts for name in re.findall(r"`(racl_tf(?:\.\w+)+)`", text)}
    assert len(names) > 20
    for name in names:
        assert resolve(name) is not None


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_an_entry(package: str) -> None:
    page = (DOCS / f"api/{package}.md").read_text()
    public = getattr(importlib.import_module(f"racl_tf.{package}"), "__all__", [])
    entries = re.findall(r"^::: (\S+)$", page, re.MULTILINE)
    assert entries
    assert len(entries) == len(set(entries))
    names = {re.sub(r"\.(\w+)\.\1$", r".\1", entry) for entry in entries}  # of what has the name of its module
    assert {f"racl_tf.{package}.{name}" for name in public} <= names
    for name in names:
        assert resolve(name) is not None


def test_every_name_of_the_package_itself_has_an_entry() -> None:
    page = (DOCS / "api/index.md").read_text()
    entries = re.findall(r"^(?:::: |\| \[?`)(racl_tf\.\w+)(?:$|`)", page, re.MULTILINE)
    assert sorted(entries) == [f"racl_tf.{name}" for name in racl_tf.__all__]


METHOD = (DOCS / "method.md").read_text()
TABLE = re.findall(r"^\| ((?:Eq\. |Section )[\d.]+) \|.*`(racl_tf\.[\w.]+)`", METHOD, re.MULTILINE)


@pytest.mark.parametrize(("equation", "function"), TABLE)
def test_the_function_of_an_equation_names_it(equation: str, function: str) -> None:
    assert equation in equations(resolve(function).__doc__)


def test_an_equation_has_one_function() -> None:
    numbered = [equation for equation, _ in TABLE if equation.startswith("Eq.")]
    assert len(numbered) == len(set(numbered)) > 10


@pytest.mark.parametrize("package", ["lipschitz", "search"])
def test_every_equation_that_docstrings_name_is_in_the_table(package: str) -> None:
    """Those of the paper: where another one's are meant, its authors stand before the number."""
    for path in (ROOT / "racl_tf" / package).glob("*.py"):
        for docstring in re.findall(r'"""(.*?)"""', path.read_text(), re.DOTALL):
            own = re.sub(r"\([A-Z][^()]*\d{4}, Eqs?\.[^)]*\)", "", docstring)
            named = {equation for equation in equations(own) if equation.startswith("Eq.")}
            assert named <= {equation for equation, _ in TABLE}, path.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_on_a_page_is_one(page: pathlib.Path) -> None:
    """The program exists and has the flags."""
    shown = "\n".join(re.findall(r"^```\w*\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE))
    commands = re.findall(r"^(racl-\w+ .*?)(?:#.*)?$", shown, re.MULTILINE)
    shared = {"workdir", "config"}
    for command in commands:
        program, *arguments = shlex.split(command)
        name = program.removeprefix("racl-")
        path = ROOT / "bin" / f"{name}{'_' if keyword.iskeyword(name) else ''}.py"
        assert path.exists(), command
        if "run_viewer(" in path.read_text():
            defined = re.findall(r'"--(\w+)"', path.read_text())
            flags_given = [argument for argument in arguments if argument.startswith("--")]
            assert {flag.removeprefix("--").partition("=")[0] for flag in flags_given} <= set(defined), command
            continue
        groups = re.findall(r"\b([A-Z]{4,})\b", re.search(r"run_program\(.*?\)\n", path.read_text(), re.DOTALL)[0])  # type: ignore[index]
        known = shared | {flag for group in groups for flag in getattr(flags, group)}
        for argument in arguments:
            flag = argument.removeprefix("--").partition("=")[0]
            assert flag in known or flag.startswith("config."), command


@pytest.mark.slow
def test_the_whole_way_in_python_runs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As printed, but for the data set and the sizes, and so does what serves its export."""
    page = "docs/getting-started.md"
    example, served = blocks(page)
    assert [example] == blocks("README.md")
    assert len([line for line in example.splitlines() if line]) <= 20
    monkeypatch.chdir(tmp_path)
    run(
        example,
        page,
        ('"cifar10", train_size=10000, test_size=1000', '"digits", train_size=256, test_size=64'),
        ("channels=16, cells=5", "channels=4, cells=3"),
        ("epochs=10, steps_per_epoch=78", "epochs=2, steps_per_epoch=1"),
        ("WarmUp(3)", "WarmUp(1)"),
        ("epochs=12, steps_per_epoch=156", "epochs=1, steps_per_epoch=1"),
        ("attacks.standard_suite(8 / 255, 2 / 255)", '{"fgsm": attacks.fgsm(8 / 255)}'),
    )
    assert (tmp_path / "saved_model/saved_model.pb").exists()
    signature = run(served, page, ("[1, 32, 32, 3]", "[1, 8, 8, 1]"))["served"]
    assert set(signature.structured_outputs) == {"logits", "probabilities", "class"}


def test_the_attack_on_any_classifier_runs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "docs/attacks-and-evaluation.md"
    (example,) = blocks(page)
    monkeypatch.chdir(tmp_path)
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential([keras.Input((8, 8, 1)), *layers]).save("model.keras")
    names = run(
        example,
        page,
        ('load_dataset("cifar10")', 'load_dataset("digits", test_size=10)'),
        ("attacks.autoattack(8 / 255)", "attacks.autoattack(8 / 255)[:1]"),
    )
    assert names["adversarial"].shape == (2, 8, 8, 1)
    assert (tmp_path / "runs/mine/outcomes.npz").exists()


def test_the_table_of_attacks_holds() -> None:
    """Each name makes what stands beside it."""
    page = (DOCS / "attacks-and-evaluation.md").read_text()
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)?) \| (`attacks.*?) \|", page, re.MULTILINE)
    assert len(rows) >= 9
    for called, made in rows:
        for name, code in zip(re.findall(r"`(\w+)`", called), re.findall(r"`(attacks.*?\))`", made), strict=False):
            steps = 10 if name == "mim" else 30
            options = {"norm": "l2"} if name.endswith("_l2") else {}
            attack = racl_tf.attacks.make_attack(name.replace("N", str(steps)), 0.1, 0.02, **options)
            expected = eval(code, {"attacks": racl_tf.attacks, "eps": 0.1, "step_size": 0.02, "N": steps})
            assert attack == (expected if isinstance(expected, tuple) else (expected,)), name


def test_own_arrays_make_a_data_set() -> None:
    (example,) = blocks("docs/own-data.md")
    assert run(example, "docs/own-data.md")["data"].num_classes == 3


def test_the_answers_run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "docs/faq.md"
    normalised, loaded, shared, converted = blocks(page)
    monkeypatch.chdir(tmp_path)
    whole = run(normalised, page)["whole"]
    assert whole.output_shape == (None, 10)
    whole.save("model.keras")
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    expected = whole.predict(images, verbose=0)
    np.testing.assert_allclose(run(loaded, page)["classifier"].logits(images), expected, atol=1e-5)
    assert run(shared, page)["network"].num_classes == 10
    run(converted, page)
    assert (tmp_path / "model.tflite").read_bytes()[4:8] == b"TFL3"
