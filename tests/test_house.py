"""The rules of the house, read off the source: imports one way, short functions, plain lines."""

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

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = sorted((ROOT / "ancf_jax").rglob("*.py"))
SCRIPTS = sorted(ROOT.glob("*.py"))
LAYERS = (
    {"errors", "types"},
    {"view"},
    {"limits"},
    {"config", "machine"},
    {"data", "modules", "batching", "objective"},
    {"models", "output"},
    {"prepared"},
    {"checkpoint", "ranking"},
    {"runs", "evaluation"},
    {"recommender", "report"},
    {"training"},
    {"cli"},
    {
        "__init__"
    },  # the facade: imports from everywhere, and nothing within imports from it
)
LAYER_OF = {name: height for height, layer in enumerate(LAYERS) for name in layer}

DEVICE_CALLS = {
    "default_backend",
    "device_count",
    "devices",
    "local_device_count",
    "local_devices",
    "pmap",
    "process_count",
    "process_index",
    "shard_map",
}
MATHEMATICS = ("modules", "models", "objective", "batching")
MACHINE_WORDS = re.compile(r"cpu|xla|llvm|cache of|backend", re.IGNORECASE)

MAX_FUNCTION_LINES = 40
MAX_FILE_LINES = 300
MAX_COLUMNS = 100
MAX_TOKENS_PER_LINE = 10
MAX_TUPLE_ASSIGNMENTS = 3 / 1000  # of all lines that hold code


def name_of(path: Path) -> str:
    """ancf_jax/data/splits.py -> ancf_jax.data.splits, a/b/__init__.py -> a.b."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in LIBRARY}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


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
    """Imports of a room that is not below."""
    unit = unit_of(module)
    broken = []
    for imported in imports_of(tree):
        other = unit_of(imported)
        if other != unit and LAYER_OF[other] >= LAYER_OF[unit]:
            broken.append(f"{module} imports {imported}")
    return broken


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def long_functions(tree: ast.AST) -> list[str]:
    return [
        f"{f.name}, line {f.lineno}"
        for f in functions(tree)
        if (f.end_lineno or 0) - f.lineno >= MAX_FUNCTION_LINES
    ]


def undocumented(tree: ast.Module) -> list[str]:
    """Public functions, classes and methods without a docstring.

    What stands within a function is private, and Linen calls `setup` itself.
    """
    missing = [] if ast.get_docstring(tree) or not tree.body else ["the module"]
    waiting = list(tree.body)
    for node in waiting:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_") or node.name == "setup":
            continue
        if not ast.get_docstring(node):
            missing.append(node.name)
        if isinstance(node, ast.ClassDef):
            waiting.extend(node.body)
    return missing


def code_tokens(source: str) -> list[tokenize.TokenInfo]:
    """Names, operators, numbers and strings: what a reader has to take in."""
    kinds = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token for token in tokens if token.type in kinds]


def tokens_per_line(source: str) -> float:
    """Mean number of tokens over the lines on which one begins."""
    tokens = code_tokens(source)
    return len(tokens) / max(1, len({token.start[0] for token in tokens}))


def tuple_assignments(tree: ast.AST) -> int:
    """Statements such as `a, b = x, y`."""
    return sum(
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Tuple)
        and isinstance(node.value, ast.Tuple)
        for node in ast.walk(tree)
    )


def test_every_file_of_the_library_has_a_layer():
    assert {unit_of(module) for module in MODULES} == set(LAYER_OF)


def test_imports_run_one_way():
    broken = [
        found
        for module, path in MODULES.items()
        for found in broken_imports(module, parsed(path))
    ]
    assert broken == []
    graph = {
        module: set(imports_of(parsed(path))) - {module}
        for module, path in MODULES.items()
    }
    for package in [
        name for name in MODULES if any(m.startswith(f"{name}.") for m in MODULES)
    ]:
        graph.pop(package)  # a package's __init__ re-exports what lies within
    order = list(
        graphlib.TopologicalSorter(graph).static_order()
    )  # CycleError for a circle
    assert order.index("ancf_jax.errors") < order.index("ancf_jax.training.fit")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ancf_jax.recommender", "def f():\n    from ancf_jax.training.fit import fit"),
        ("ancf_jax.report", "import ancf_jax.training.fit"),
        ("ancf_jax.objective.losses", "from ancf_jax.models.linear import Linear"),
        ("ancf_jax.modules.heads", "from ancf_jax.data.splits import assign"),
        ("ancf_jax.data.splits", "from ancf_jax.ranking import Ranker"),
        ("ancf_jax.data.splits", "from ancf_jax import Recommender"),
    ],
)
def test_an_import_that_runs_the_other_way_is_found(module, source):
    assert len(broken_imports(module, ast.parse(source))) == 1


def device_calls(tree: ast.Module) -> list[str]:
    """Uses of what tells of devices and backends."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in DEVICE_CALLS:
            text = ast.unparse(node)
            found += [f"{text}, line {node.lineno}"] if text.startswith("jax.") else []
        if (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").split(".")[0] == "jax"
        ):
            found += [alias.name for alias in node.names if alias.name in DEVICE_CALLS]
    return found


@pytest.mark.parametrize("path", LIBRARY + SCRIPTS, ids=name_of)
def test_only_the_machine_room_knows_devices_and_backends(path):
    if "machine" in path.parts:
        return
    assert device_calls(parsed(path)) == []


def test_device_calls_are_found():
    source = "import jax\nfrom jax import pmap\nn = len(jax.devices()), jax.default_backend()"
    assert len(device_calls(ast.parse(source))) == 3


@pytest.mark.parametrize("room", MATHEMATICS)
def test_mathematics_says_nothing_of_machines(room):
    found = [
        f"{path.name}, line {number}: {line.strip()}"
        for path in (ROOT / "ancf_jax" / room).rglob("*.py")
        for number, line in enumerate(
            path.read_text(encoding="utf-8").splitlines(), start=1
        )
        if MACHINE_WORDS.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("path", LIBRARY + SCRIPTS, ids=name_of)
def test_files_read_easily(path):
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    lines = source.splitlines()
    assert long_functions(tree) == []
    assert undocumented(tree) == []
    assert len(lines) <= MAX_FILE_LINES
    assert [n for n, line in enumerate(lines, start=1) if len(line) > MAX_COLUMNS] == []
    assert tokens_per_line(source) <= MAX_TOKENS_PER_LINE


def test_statements_assign_one_thing():
    sources = [path.read_text(encoding="utf-8") for path in LIBRARY]
    lines = sum(len({t.start[0] for t in code_tokens(source)}) for source in sources)
    assigned = sum(tuple_assignments(ast.parse(source)) for source in sources)
    assert assigned <= MAX_TUPLE_ASSIGNMENTS * lines


def test_the_rules_find_what_they_look_for():
    body = "".join(f"    x{n} = {n}\n" for n in range(MAX_FUNCTION_LINES))
    source = (
        f'def f():\n    """Says."""\n{body}\n\nclass A:\n    x: int\n    """Text."""\n'
    )
    tree = ast.parse(source)
    assert long_functions(tree) == ["f, line 1"]
    assert undocumented(tree) == ["the module", "A"]
    assert tokens_per_line("a = 1\n\nb, c = (a, 2)\n# more\n") == (3 + 9) / 2
    assert tuple_assignments(ast.parse("a, b = 1, 2\nc, d = f()\ne = 1, 2")) == 1


def test_no_file_names_a_path_of_one_machine():
    folders = ["ancf_jax", "tests", "benchmarks", "docs", ".ci"]
    kinds = ("", ".py", ".md", ".toml")
    texts = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    texts = [path for path in texts if path.suffix in kinds] + list(ROOT.glob("*.*"))
    texts = [path for path in texts if path.is_file() and "badinput" not in path.parts]
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
import importlib, logging, os, random, signal
import flax, jax, matplotlib, numpy as np, optax, orbax.checkpoint, pandas, pyarrow, rich, scipy
import tensorstore, tyro
def state():
    return (
        dict(jax.config.values), dict(os.environ), random.getstate(),
        np.random.get_state()[1].tolist(), logging.root.manager.disable,
        [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)],
    )
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
    words = [word for line in lines for word in line.split("&&")]
    return [word.strip() for word in words if re.match(r"\s*python \w+\.py", word)]


@pytest.mark.parametrize("command", commands())
def test_the_commands_of_the_readme_are_understood(command):
    script, *words = shlex.split(command, comments=True)[1:]
    module = import_module(Path(script).stem)
    flags = [word for word in words if not word.startswith("@")]
    if script == "train.py":
        assert module.parse(flags).config.model == (
            cli.flag_value(flags, "--model") or "ancf"
        )
    else:
        assert cli.parse(module.Command, None, flags, "") is not None


def test_the_list_for_accelerator_hosts_agrees_with_the_package():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    extras = project["optional-dependencies"]
    needed = {name for name in project["dependencies"] if not name.startswith("jax>")}
    assert listed == needed | {*extras["cuda"], *extras["search"], *extras["test"]}
