"""Loads the topology that a user's file holds."""

from __future__ import annotations

import difflib
import importlib.util
import linecache
import sys
import traceback
from pathlib import Path
from types import ModuleType

from streamproc.errors import Location, StreamprocError, TopologyError
from streamproc.flow.topology import Topology


def load(file: Path) -> Topology:
    """Run the file and find its topology.

    Raises:
        TopologyError: no such file, it raises (with the user's own line), it holds no topology or several.
    """
    module = _run(_existing(file))
    found = {id(value): (name, value) for name, value in vars(module).items() if isinstance(value, Topology)}
    if len(found) == 1:
        return next(iter(found.values()))[1]
    if not found:
        raise TopologyError("SP192", f'no topology in "{file}"', fix='topology = sp.Topology("a_name")')
    named = getattr(module, "topology", None)
    if isinstance(named, Topology):
        return named
    names = ", ".join(name for name, _ in found.values())
    raise TopologyError("SP192", f'several topologies in "{file}": {names}', fix='call the one to run "topology"')


def _existing(file: Path) -> Path:
    if file.is_file():
        return file.resolve()
    detail, fix = [], "give the path of a Python file that makes a sp.Topology"
    if file.is_dir():
        detail.append("it is a folder")
    folder = file if file.is_dir() else file.parent
    if folder.is_dir():
        nearby = sorted(path.name for path in folder.glob("*.py") if not path.name.startswith("_"))
        if nearest := difflib.get_close_matches(file.name, nearby, n=1):
            fix = f"did you mean {folder / nearest[0]}?"
        elif nearby:
            detail.append(f"in {folder}: {', '.join(nearby[:10])}")
    raise TopologyError("SP190", f'no topology file "{file}"', detail=detail, fix=fix)


def _run(file: Path) -> ModuleType:
    name = f"streamproc_topology_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise TopologyError("SP190", f'"{file}" is not a Python file')
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(file.parent))  # so that it can import what lies beside it
    try:
        spec.loader.exec_module(module)
    except StreamprocError:
        raise
    except SyntaxError as error:
        place = Location(error.filename or str(file), error.lineno or 0, (error.text or "").strip())
        raise TopologyError("SP191", f"not Python: {error.msg}", location=place) from error
    except (Exception, SystemExit) as error:
        raise TopologyError(
            "SP191",
            f"the topology file raised {type(error).__name__}: {error}",
            location=_own_line(error, file),
        ) from error
    finally:
        sys.path.remove(str(file.parent))
    return module


def _own_line(error: BaseException, file: Path) -> Location:
    """The deepest line of the user's folder that led to the error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).parent == file.parent]
    if not own:
        return Location(str(file), 1)
    last = own[-1]
    return Location(last.filename, last.lineno or 0, linecache.getline(last.filename, last.lineno or 0).strip())
