"""The rules of the house, read off the source: one direction of imports, short functions, a small library."""

from __future__ import annotations

import ast
import graphlib
import io
import os
import re
import shlex
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from ancf_jax import cli
from ancf_jax.config import default_config

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = sorted((ROOT / "ancf_jax").rglob("*.py"))
SCRIPTS = sorted(ROOT.glob("*.py"))
LAYERS = (
    {"errors"},
    {"config", "types"},
    {"data", "modules", "cli"},
    {"models", "objective", "output"},
    {"checkpoint", "ranking"},
    {"runs", "evaluation"},
    {"recommender", "report"},
    {"training"},
    {
        "__init__"
    },  # the facade: imports from everywhere, and nothing within imports from it
)
LAYER_OF = {name: height for height, layer in enumerate(LAYERS) for name in layer}
DEVICE_CALLS = {
    "pmap",
    "shard_map",
    "devices",
    "local_devices",
    "device_count",
    "local_device_count",
}
LONGEST_FUNCTION = 60
LARGEST_LIBRARY = 4_000  # lines of code: neither blank, nor comment, nor docstring


def name_of(path: Path) -> str:
    """ancf_jax/data/table.py -> ancf_jax.data.table, ancf_jax/models/__init__.py -> ancf_jax.models."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in LIBRARY}


def imports_of(tree: ast.Module) -> Iterator[str]:
    """The modules of the library that a source imports, also within functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in names)


def unit_of(module: str) -> str:
    """The file or folder right below ancf_jax that a module belongs to."""
    return [*module.split("."), "__init__"][1]


def broken_imports(module: str, tree: ast.Module) -> list[str]:
    unit, broken = unit_of(module), []
    for imported in imports_of(tree):
        other = unit_of(imported)
        if other != unit and LAYER_OF[other] >= LAYER_OF[unit]:
            broken.append(f"{module} imports {imported}")
    return broken


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def undocumented(tree: ast.Module) -> list[str]:
    """Public functions, classes and methods without a docstring; what stands within a function is private."""
    missing, waiting = (
        [] if ast.get_docstring(tree) or not tree.body else ["the module"],
        list(tree.body),
    )
    for node in waiting:
        if (
            isinstance(node, ast.FunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and node.name != "setup"
        ):
            missing += [] if ast.get_docstring(node) else [node.name]
            waiting += node.body if isinstance(node, ast.ClassDef) else []
    return missing


def code_lines(source: str) -> int:
    """Lines that hold code: no blank lines, comments, docstrings or texts that describe a field."""
    plain = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    code = {
        line
        for t in tokens
        if t.type not in plain
        for line in range(t.start[0], t.end[0] + 1)
    }
    texts = [
        n
        for n in ast.walk(ast.parse(source))
        if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)
    ]
    described = [t for t in texts if isinstance(t.value.value, str)]
    return len(
        code
        - {line for t in described for line in range(t.lineno, (t.end_lineno or 0) + 1)}
    )


def test_every_file_of_the_library_has_a_layer():
    assert {unit_of(module) for module in MODULES} == set(LAYER_OF)


def test_imports_run_one_way():
    assert [
        found
        for module, path in MODULES.items()
        for found in broken_imports(module, parsed(path))
    ] == []
    graph = {
        module: set(imports_of(parsed(path))) - {module}
        for module, path in MODULES.items()
    }
    order = list(
        graphlib.TopologicalSorter(graph).static_order()
    )  # CycleError where two import each other
    assert (
        order.index("ancf_jax.errors")
        < order.index("ancf_jax.config")
        < order.index("ancf_jax.training.fit")
    )


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ancf_jax.recommender", "def f():\n    from ancf_jax.training.fit import fit"),
        ("ancf_jax.report", "import ancf_jax.training.fit"),
        ("ancf_jax.models.ancf", "from ancf_jax.objective.losses import bpr"),
        ("ancf_jax.data.table", "from ancf_jax import ranking"),
        ("ancf_jax.data.table", "from ancf_jax import Recommender"),
    ],
)
def test_an_import_that_runs_the_other_way_is_found(module, source):
    assert len(broken_imports(module, ast.parse(source))) == 1


@pytest.mark.parametrize(
    "path",
    [path for path in LIBRARY + SCRIPTS if path.name != "parallel.py"],
    ids=name_of,
)
def test_only_parallel_knows_devices(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute) and node.attr in DEVICE_CALLS:
            assert not ast.unparse(node).startswith("jax."), (
                f"{ast.unparse(node)} in line {node.lineno}"
            )
        if (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").split(".")[0] == "jax"
        ):
            assert not DEVICE_CALLS & {alias.name for alias in node.names}


@pytest.mark.parametrize("path", LIBRARY + SCRIPTS, ids=name_of)
def test_functions_are_short_and_public_names_documented(path):
    tree = parsed(path)
    long = [
        f"{f.name}, line {f.lineno}"
        for f in functions(tree)
        if f.end_lineno - f.lineno >= LONGEST_FUNCTION
    ]
    assert long == []
    assert undocumented(tree) == []


def test_the_rules_find_what_they_look_for():
    source = 'def f():\n    """Says."""\n\n    # why\n    return [\n        1,\n    ]\n\nclass A:\n    x: int\n    """Text."""\n'
    assert code_lines(source) == 6
    assert undocumented(ast.parse(source)) == ["the module", "A"]


def test_the_library_is_small():
    size = sum(code_lines(path.read_text(encoding="utf-8")) for path in LIBRARY)
    assert 1_000 < size < LARGEST_LIBRARY


def test_no_file_names_a_path_of_one_machine():
    folders = ["ancf_jax", "tests", "benchmarks", "docs", ".ci"]
    texts = [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in ("", ".py", ".md", ".toml")
    ]
    texts = [
        path
        for path in texts + list(ROOT.glob("*.*"))
        if path.is_file() and "badinput" not in path.parts
    ]
    assert {ROOT / "README.md", ROOT / ".ci" / "run", Path(__file__).resolve()} <= set(
        texts
    )
    pattern = re.compile(r"(?<![\w.])/(?:work|home|root|tmp|mnt|Users)/[\w.-]+")
    found = [
        (path.name, hit)
        for path in texts
        for hit in pattern.findall(path.read_text("utf-8", errors="replace"))
    ]
    assert found == []


def run_python(code: str) -> str:
    """What a fresh interpreter prints for `code`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_changes_no_global_state():
    run_python(f"""
import importlib, os, random
import flax, jax, matplotlib, numpy as np, optax, orbax.checkpoint, pandas, pyarrow, rich, scipy, tensorstore, tyro
def state():
    return dict(jax.config.values), dict(os.environ), random.getstate(), np.random.get_state()[1].tolist()
before = state()
for name in {list(MODULES)}:
    importlib.import_module(name)
for old, new in zip(before, state()):
    assert old == new, (old, new)
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized(), "importing did work on a device"
""")


README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_python_of_the_readme_runs():
    assert blocks("python")
    for block in blocks("python"):
        assert run_python(block)


def commands() -> list[str]:
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [
        line
        for line in lines
        if line.startswith("python ") and "-m" not in line.split()
    ]


@pytest.mark.parametrize("command", commands())
def test_the_commands_of_the_readme_are_understood(command):
    script, *words = shlex.split(command, comments=True)[1:]
    module = import_module(Path(script).stem)
    default = (
        module.Command(default_config(cli.flag_value(words, "--model") or "ancf"))
        if script == "train.py"
        else None
    )
    assert (
        cli.parse(
            module.Command,
            default,
            [word for word in words if not word.startswith("@")],
            "",
        )
        is not None
    )


def test_the_check_runs_the_test_command_of_the_readme():
    check = ROOT / ".ci" / "run"
    assert os.access(check, os.X_OK)
    (command,) = re.findall(r"^python -m pytest.*$", README, re.MULTILINE)
    text = check.read_text(encoding="utf-8")
    assert "README.md" in text
    assert command not in re.sub(r"'\^.*?'", "", text), (
        "the command stands in README alone"
    )


def test_the_list_for_accelerator_hosts_agrees_with_the_package():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    extras = project["optional-dependencies"]
    needed = {name for name in project["dependencies"] if not name.startswith("jax>")}
    assert listed == needed | {*extras["cuda"], *extras["search"], *extras["test"]}
