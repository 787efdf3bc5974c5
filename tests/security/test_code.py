"""What no module of the package does: unpickle, run a text, unpack, fetch in the open."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
MODULES = sorted(
    path for folder in ("dfbench", "datasets") for path in (REPO / folder).rglob("*.py")
)
# What reads or runs more than data. `importlib` and entry points load code that is installed.
UNSAFE_IMPORTS = {
    *("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "jsonpickle"),
    *("pty", "telnetlib", "ftplib", "xmlrpc", "yaml", "torch", "tarfile", "code", "codeop"),
    *("xml.sax", "xml.dom", "lxml"),
}
UNSAFE_CALLS = {
    *("eval", "exec", "compile", "__import__", "input"),
    *("os.system", "os.popen", "os.startfile", "subprocess.getoutput", "tempfile.mktemp"),
    *("subprocess.getstatusoutput", "shutil.unpack_archive", "joblib.load", "joblib.dump"),
    *("urllib.request.urlopen", "urllib.request.urlretrieve", "ElementTree.fromstring"),
}
UNSAFE_METHODS = {"extract", "extractall", "load_module", "run_module"}
# Places that were looked at, each with why it may.
ALLOWED = {
    ("dfbench/report/figures/svg.py", "ElementTree.fromstring"),  # of what matplotlib has drawn
    ("dfbench/faces/beam.py", "pickle"),  # of the plan that a pipeline's own workers read
    ("dfbench/data/npz.py", "zipfile"),
    ("dfbench/models/weights/hdf5.py", "zipfile"),
    ("dfbench/classical/detector.py", "zipfile"),  # the name of a way of packing
}


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def faults(text: str, where: str) -> list[str]:
    """Return what a module does that none should."""
    tree, found = ast.parse(text), []
    for name in _imports(tree):
        unsafe = any(name == one or name.startswith(f"{one}.") for one in UNSAFE_IMPORTS)
        if (unsafe or name == "zipfile") and (where, name) not in ALLOWED:
            found.append(f"imports {name}")
    for name, call in _calls(tree):
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name in UNSAFE_CALLS and (where, name) not in ALLOWED:
            found.append(f"calls {name}")
        if "." in name and name.rpartition(".")[2] in UNSAFE_METHODS:
            found.append(f"calls {name}")
        if keywords.get("shell", "False") != "False":
            found.append(f"{name} with shell={keywords['shell']}")
        if keywords.get("allow_pickle", "False") != "False":
            found.append(f"{name} with allow_pickle={keywords['allow_pickle']}")
        if name in ("np.load", "numpy.load") and "allow_pickle" not in keywords:
            found.append(f"{name} without allow_pickle=False")
        if keywords.get("weights_only", "True") != "True":
            found.append(f"{name} with weights_only={keywords['weights_only']}")
        if name == "ElementTree.parse" and len(call.args) < 2:
            found.append(f"{name} without a parser that refuses document types")
    for node in ast.walk(tree):
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, str) and value.startswith("http://"):
            found.append(f"the URL {value}")
    return [f"{where}: {one}" for one in found]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(REPO).as_posix())
def test_no_module_does_what_none_should(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8"), path.relative_to(REPO).as_posix()) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import xml.dom.minidom",
        "def f():\n    import torch",
        "eval('1')",
        "import os\nos.system('ls')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import subprocess\nsubprocess.run('ls', shell=bool(1))",
        "import numpy as np\nnp.load('a.npy')",
        "import numpy as np\nnp.load('a.npy', allow_pickle=True)",
        "import zipfile\n",
        "archive.extractall('x')",
        "from urllib.request import urlopen\nimport urllib.request\nurllib.request.urlopen('x')",
        "ElementTree.parse(file)",
        "_URL = 'http://example.org/weights.h5'",
    ],
)
def test_the_test_sees_it(text: str) -> None:
    assert faults(text, "dfbench/other.py")


def test_nothing_is_allowed_that_is_not_there() -> None:
    for where, name in ALLOWED:
        text = (REPO / where).read_text(encoding="utf-8")
        assert name in text, (where, name)
