"""What a topology compiles to. Start with `plan`."""

from streamproc.plan.compile import plan
from streamproc.plan.load import load_topology
from streamproc.plan.model import FAILED_SCHEMA, Plan, Stage, Step, Table
from streamproc.plan.render import Seen, render

__all__ = ["FAILED_SCHEMA", "Plan", "Seen", "Stage", "Step", "Table", "load_topology", "plan", "render"]
