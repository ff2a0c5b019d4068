"""``capi-llm``: the group, its global options, and how a failure becomes an exit code."""

from __future__ import annotations

import io
import signal
import sys
import traceback
from types import FrameType
from typing import Any, NoReturn

import click

from capi_llm import versions
from capi_llm.cli import classes, clusters, kubeconfig, planes, sandbox, status
from capi_llm.cli.console import Console
from capi_llm.cli.options import State
from capi_llm.errors import CapiLlmError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(versions.CLI, prog_name="capi-llm")
@click.option("--name", "plane", default="", metavar="PLANE", help="Management plane to act on.")
@click.option("-q", "--quiet", is_flag=True, help="Only errors and data.")
@click.option("-v", "--verbose", is_flag=True, help="Log what is done, on stderr.")
@click.option("--debug", is_flag=True, help="Show a traceback where a command fails.")
@click.pass_context
def cli(context: click.Context, plane: str, quiet: bool, verbose: bool, debug: bool) -> None:
    """Self-scaling LLM clusters on Cluster API.

    \b
    capi-llm bootstrap                      make a management plane
    capi-llm new-cluster demo --workers 1..3   make a workload cluster on it
    capi-llm status                         see how both are
    """
    if verbose or debug:
        from capi_llm.cli import verbose as logging

        logging.start(debug=debug)
    context.obj = State(Console(quiet=quiet), plane=plane, verbose=verbose, debug=debug)


for module in (planes, clusters, status, kubeconfig, classes, sandbox):
    for command in module.COMMANDS:
        cli.add_command(command)


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code."""
    signal.signal(signal.SIGTERM, _stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # where the locale has no ✓, a ? is shown
    sys.exit(run(argv))


def run(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (see :mod:`capi_llm.errors`)."""
    arguments = _global_first(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        result: Any = cli.main(arguments, prog_name="capi-llm", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("\ninterrupted; run the same command again, it goes on where it stopped", err=True)
        return 130
    except BrokenPipeError:
        # Who read stdout has gone (`| head`): nothing is left to say, nor to flush.
        sys.stderr.close()
        return 1
    except CapiLlmError as error:
        if debug:
            traceback.print_exc()
        Console().error(error)
        return error.exit_code
    except Exception as error:
        if debug:
            traceback.print_exc()
        click.echo(
            f"Error: capi-llm itself failed: {type(error).__name__}: {error}\n"
            "  to go on: run the command again with --debug and report what it prints",
            err=True,
        )
        return 1
    return result if isinstance(result, int) else 0


_SWITCHES = ("-q", "--quiet", "-v", "--verbose", "--debug")


def _global_first(arguments: list[str]) -> list[str]:
    """``arguments`` with the global switches before the command, where people also put them after it."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    switches = [word for word in arguments[:end] if word in _SWITCHES]
    return switches + [word for word in arguments[:end] if word not in _SWITCHES] + arguments[end:]


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
