"""``completion``: what a shell needs to complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash: source <(capi-llm completion bash)
    zsh:  source <(capi-llm completion zsh)
    fish: capi-llm completion fish | source
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(context.find_root().command, {}, "capi-llm", "_CAPI_LLM_COMPLETE").source())


COMMANDS = (completion,)
