"""``capi-llm``: the group, its global options, and how a failure becomes an exit code."""

from __future__ import annotations

import gc
import itertools
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from capi_llm import versions
from capi_llm.cli import names, streams
from capi_llm.cli.console import Console
from capi_llm.cli.lazy import Commands, Entry, LazyGroup
from capi_llm.cli.options import State
from capi_llm.errors import CapiLlmError

COMMANDS = {
    "apps": Entry("apps", "The LLM apps on a workload cluster: list, render, diff, apply, wait, remove."),
    "bootstrap": Entry("planes", "Make a management plane, or bring back what is missing of it."),
    "chat": Entry("chat", "Ask a model of CLUSTER, through its gateway."),
    "classes": Entry("classes", "List ClusterClasses, and show what one can be told."),
    "completion": Entry("completion", "Print the completion script of SHELL."),
    "config": Entry("config", "Every setting, and where its value came from. Secrets are shown as ****."),
    "delete-cluster": Entry("clusters", "Delete cluster NAME, and wait until nothing of it is left."),
    "destroy": Entry("planes", "Take a management plane away, with every cluster on it."),
    "doctor": Entry(
        "doctor",
        "Whether a management plane can be made here: every prerequisite, and what to do.",
    ),
    "events": Entry("status", "What happened to cluster NAME and its machines, newest last."),
    "keys": Entry("keys", "Keys of the gateway's clients: create, list, revoke."),
    "kubeconfig": Entry(
        "kubeconfig", "Write the kubeconfig of cluster NAME to a file, or merge it into yours."
    ),
    "logs": Entry("logs", "Log of WHAT: a part of a sandbox, an app on CLUSTER, or its `autoscaler`."),
    "models": Entry(
        "models", "Models behind the gateway: which there are, where they are served, who gets which share."
    ),
    "new-cluster": Entry(
        "clusters", "Make the workload cluster NAME with its apps, and wait until all of it is ready."
    ),
    "plan": Entry("plan", "What a change would do: accepted or refused, and what differs, field by field."),
    "planes": Entry("planes", "List management planes, and choose one."),
    "portforward": Entry(
        "portforward",
        "Forward local ports to the apps of CLUSTER: all that are known, or those that are named.",
    ),
    "rehearse": Entry(
        "rehearse", "Run a change on a throwaway sandbox and say what becomes of every machine."
    ),
    "sandbox": Entry("sandbox", "The parts of a sandbox: executables and manifests."),
    "scale": Entry("clusters", "Give a pool of cluster NAME another number of machines."),
    "smoke": Entry(
        "smoke", "Whether tokens come out: the gateway of CLUSTER is live, has the model, and answers."
    ),
    "status": Entry("status", "How the management plane and its clusters are: one verdict, then a tree."),
    "support-bundle": Entry(
        "support",
        "Collect versions, settings, status, logs, events and objects, without secrets, in one file.",
    ),
    "upgrade": Entry("upgrade", "Take something to a newer version."),
    "version": Entry("planes", "Versions of capi-llm and of what it installs."),
    "wait": Entry("wait", "Wait until something is ready."),
}
"""Every command, with the module that has it: see :mod:`capi_llm.cli.lazy`."""


@click.group(
    cls=LazyGroup,
    commands=Commands(COMMANDS),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(versions.CLI, prog_name="capi-llm")
@click.option(
    "--name",
    "plane",
    default="",
    metavar="PLANE",
    shell_complete=names.planes,
    help="Management plane to act on.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Settings file.  [default: capi-llm.yaml, if it is there]",
)
@click.option("-q", "--quiet", is_flag=True, help="Only errors and data.")
@click.option("-v", "--verbose", is_flag=True, help="Log what is done, on stderr.")
@click.option("--debug", is_flag=True, help="Show a traceback where a command fails.")
@click.pass_context
def cli(
    context: click.Context, plane: str, config_file: Path | None, quiet: bool, verbose: bool, debug: bool
) -> None:
    """Self-scaling LLM clusters on Cluster API.

    \b
    capi-llm bootstrap                      make a management plane
    capi-llm new-cluster demo --workers 1..3   make a workload cluster on it
    capi-llm status                         see how both are
    """
    if verbose or debug:
        from capi_llm.cli import verbose as logging

        logging.start(debug=debug)
    context.obj = State(Console(quiet=quiet), plane=plane, verbose=verbose, debug=debug, config=config_file)


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code."""
    signal.signal(signal.SIGTERM, _stop)
    streams.guard()
    # A command makes many objects and little garbage. Python's collector, at its own thresholds,
    # takes most of the time in which long lists are read,
    gc.set_threshold(50_000, 20, 50)
    code = run(argv)
    # and a fifth of a whole command to clear away at its end what the system takes back anyway.
    gc.freeze()
    sys.exit(code)


def run(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (see :mod:`capi_llm.errors`)."""
    arguments = _global_first(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        result: Any = cli.main(arguments, prog_name="capi-llm", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("\ninterrupted; run the same command again, it goes on where it stopped", err=True)
        return 130
    except CapiLlmError as error:
        if debug:
            _traceback()
        Console().error(error)
        return error.exit_code
    except Exception as error:
        if debug:
            _traceback()
        click.echo(
            f"Error: capi-llm itself failed: {type(error).__name__}: {error}\n"
            "  to go on: run the command again with --debug and report what it prints",
            err=True,
        )
        return 1
    return result if isinstance(result, int) else 0


def _traceback() -> None:
    import traceback

    traceback.print_exc()


_SWITCHES = ("-q", "--quiet", "-v", "--verbose", "--debug")


def _global_first(arguments: list[str]) -> list[str]:
    """``arguments`` with the global options before the command, where people also put them after it."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    first: list[str] = []
    rest: list[str] = []
    words = iter(arguments[:end])
    for word in words:
        if word == "--config":
            first += [word, *itertools.islice(words, 1)]
        else:
            (first if word in _SWITCHES or word.startswith("--config=") else rest).append(word)
    return first + rest + arguments[end:]


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
