"""A topology file -> its topology."""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import sys
import traceback
from pathlib import Path
from types import ModuleType

from streamproc.errors import Location, TopologyError
from streamproc.flow.location import line_of
from streamproc.flow.topology import Topology
from streamproc.plan.fingerprint import TOPOLOGY_MODULE
from streamproc.plan.suggest import suggestion


def load_topology(path: str | Path) -> Topology:
    """Run a topology file and return its topology: the one named `topology`, or the only one.

    The file's folder can be imported from, as if Python had been started with it.

    Raises:
        TopologyError: SP102 no such file, or it raised, with the user's own line; SP103 no topology in it, or several.
            What the file's own calls raise of streamproc passes through.
    """
    file = Path(path)
    if not file.is_file():
        raise TopologyError("SP102", f'no topology file "{path}"', fix=_beside(file))
    module = _run(file.resolve())
    named = getattr(module, "topology", None)
    if isinstance(named, Topology):
        return named
    found = {name: value for name, value in vars(module).items() if isinstance(value, Topology)}
    if len({id(value) for value in found.values()}) == 1:
        return next(iter(found.values()))
    raise TopologyError(
        "SP103",
        f'several topologies in "{path}"' if found else f'no topology in "{path}"',
        detail=["found: " + ", ".join(found)] if found else [],
        fix="name the one to run `topology`" if found else 'topology = sp.Topology("name")',
    )


def _beside(file: Path) -> str:
    folder = file.parent
    files = sorted(one.name for one in folder.glob("*.py"))[:10] if folder.is_dir() else []
    return f"in {folder}: {', '.join(files)}" if files else "give the path of a Python file"


def _run(file: Path) -> ModuleType:
    name = f"{TOPOLOGY_MODULE}{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise TopologyError("SP102", f'"{file}" is not a Python file', fix="name it .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    linecache.checkcache(str(file))
    try:
        spec.loader.exec_module(module)
    except TopologyError as error:
        del sys.modules[name]
        error.location = error.location or _line(error, str(file))
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise TopologyError(
            "SP102",
            f"the topology file raised {type(error).__name__}: {error}",
            location=_line(error, str(file)),
            fix=suggestion(error) or "correct the line",
        ) from error
    return module


def _line(error: BaseException, file: str) -> Location:
    """The last line of the user's own file that was on the way to the error."""
    if isinstance(error, SyntaxError) and error.filename == file and error.lineno:
        return line_of(file, error.lineno)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return line_of(file, (frames[-1].lineno or 1) if frames else 1)
