"""``chat``: one question, or a session on a terminal. The answer is data on stdout, all else on stderr."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TYPE_CHECKING

import click

from capi_llm.cli.console import interactive, standard_input
from capi_llm.cli.gateways import asking, cluster_argument, opened
from capi_llm.cli.options import State, pass_state

if TYPE_CHECKING:
    from capi_llm.models.chat import Conversation

_CLUSTER = re.compile(r"([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


@click.command()
@cluster_argument
@click.argument("prompt", required=False, default="")
@asking
@pass_state
def chat(
    state: State,
    cluster: str,
    prompt: str,
    model: str,
    url: str,
    host: str,
    most: int | None,
    wait: float,
    timeout: float,
) -> int:
    """Ask a model of CLUSTER, through its gateway.

    \b
    PROMPT is the question; without it, it comes from stdin, or a session begins on a terminal.
      capi-llm chat demo "What is a pod?"
      git diff | capi-llm chat demo
      capi-llm chat --url http://127.0.0.1:4000 "What is a pod?"
    Ctrl-C ends an answer, once more the session. --timeout is that of one answer.
    """
    from capi_llm.errors import BadInput, Interrupted
    from capi_llm.models import smoke
    from capi_llm.models.chat import Conversation
    from capi_llm.models.gateway_client import GatewayClient

    if cluster and not prompt and (url or not _CLUSTER.fullmatch(cluster)):
        cluster, prompt = "", cluster  # what can not be a cluster's name is the question
    session = not prompt and interactive()
    if not prompt and not session:
        prompt = standard_input().strip()
        if not prompt:
            raise BadInput("there is no question", fix='capi-llm chat demo "What is a pod?"')
    with opened(state, cluster, url, host, timeout) as found:
        try:
            with GatewayClient(found.gateway, within=timeout) as client:
                smoke.until_live(client, wait)
                chosen = smoke.choose(client.models(), model)
                behind = f"; {found.simulated}" if found.simulated else ""
                state.console.say(f"{chosen} is asked{behind}.")
                conversation = Conversation(client, chosen, most=most)
                if session:
                    return _session(state, conversation)
                _answer(conversation, prompt)
        except KeyboardInterrupt:
            click.echo("", err=True)
            return Interrupted.exit_code
    return 0


def _answer(conversation: Conversation, question: str) -> None:
    """The answer on stdout, as it comes, with a line break at its end, also where it is broken off."""
    from capi_llm.models.chat import printable

    terminal, last = sys.stdout.isatty(), ""
    try:
        with contextlib.closing(conversation.ask(question)) as pieces:
            for last in pieces:
                click.echo(printable(last) if terminal else last, nl=False)
                sys.stdout.flush()
    finally:
        if last and not last.endswith("\n"):
            click.echo()


def _session(state: State, conversation: Conversation) -> int:
    """Questions from the terminal until its end (Ctrl-D) or Ctrl-C without an answer under way."""
    from capi_llm.errors import CapiLlmError

    state.console.say("Ctrl-C ends an answer, Ctrl-D the session.")
    while True:
        click.echo("> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            click.echo("", err=True)
            return 0
        if not line.strip():
            continue
        try:
            _answer(conversation, line.strip())
        except KeyboardInterrupt:
            click.echo("(ended)", err=True)
        except CapiLlmError as error:
            state.console.error(error)


COMMANDS = (chat,)
