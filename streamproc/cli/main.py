"""The command line. Exit codes: 0 done, 1 an error for the user, 2 wrong usage or a defect, 130 interrupted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from streamproc import __version__
from streamproc.cli import config_show, infer, plan, reset, run, screen, show, verify
from streamproc.cli.demo import command as demo
from streamproc.errors import StreamprocError

app = typer.Typer(
    help="From Kafka to Delta Lake, exactly once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        screen.say(f"streamproc {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """From Kafka to Delta Lake, exactly once."""


app.command("demo")(demo.demo)
app.command("plan")(plan.plan)
app.command("run")(run.run)
app.command("verify")(verify.verify)
app.command("show")(show.show)
app.command("infer")(infer.infer)
app.command("reset")(reset.reset)
_config = typer.Typer(help="Settings.", no_args_is_help=True)
_config.command("show")(config_show.show)
app.add_typer(_config, name="config")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command; always ends the process. No traceback reaches the screen.

    Args:
        arguments: by default those of the process.
    """
    try:
        app(arguments, prog_name="streamproc")
    except StreamprocError as failure:
        screen.error(failure)
        sys.exit(1)
    except Exception as failure:  # noqa: BLE001 - the last place that can tell the user
        screen.crash(failure)
        sys.exit(2)
    sys.exit(0)
