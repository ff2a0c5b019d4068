"""``smoke``: whether tokens come out of the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from capi_llm import versions
from capi_llm.cli.console import MARKS, columns, data
from capi_llm.cli.gateways import Opened, asking, cluster_argument, opened
from capi_llm.cli.options import State, duration, output, pass_state

if TYPE_CHECKING:
    from capi_llm.models.smoke import Check
    from capi_llm.models.smoke_load import Load

_MARKS = {"ok": MARKS["Ready"], "failed": MARKS["Failed"], "skipped": ("-", "bright_black")}


@click.command()
@cluster_argument
@asking
@click.option("--load", callback=duration(None), metavar="TIME", help="Then ask all the time for so long.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    metavar="N",
    help="Requests at a time of --load.",
)
@output("table", "json", "yaml")
@pass_state
def smoke(
    state: State,
    cluster: str,
    model: str,
    url: str,
    host: str,
    most: int | None,
    wait: float,
    timeout: float,
    load: float | None,
    concurrency: int,
    output: str,
) -> int:
    """Whether tokens come out: the gateway of CLUSTER is live, has the model, and answers.

    \b
    One completion and one streamed one are made. Ends with 1 where a check fails.
      capi-llm smoke demo
      capi-llm smoke demo --load 30s --concurrency 8
      capi-llm smoke --url http://10.0.0.5 --host gateway.local
    --timeout is that of one request. The key is in no argument: it is the cluster's own, or
    CAPI_LLM_GATEWAY_KEY.
    """
    from capi_llm.models import smoke as checks
    from capi_llm.models import smoke_load

    most = most or checks.MOST_TOKENS
    with opened(state, cluster, url, host, timeout) as found:
        if found.simulated:
            state.console.say(f"litellm of {found.cluster}: {found.simulated}.")
        heard = _show if output == "table" else _silent
        report = checks.examine(found.gateway, model, within=timeout, wait=wait, most=most, heard=heard)
        verdicts, under_load = list(report.checks), None
        if load is not None:
            if report.ok:
                state.console.say(f"{load:g} s of load, {concurrency} at a time …")
                under_load = smoke_load.put(
                    found.gateway,
                    report.model,
                    seconds=load,
                    concurrency=concurrency,
                    within=timeout,
                    most=most,
                )
                verdict = smoke_load.judge(under_load)
            else:
                verdict = checks.Check("load", checks.State.SKIPPED, "not made, after the failure before it")
            verdicts.append(verdict)
            heard(verdict)
    ok = all(check.state is not checks.State.FAILED for check in verdicts)
    if output == "table":
        if under_load is not None:
            _show_load(under_load)
    else:
        from dataclasses import asdict

        about = checks.as_json(report) | {"ok": ok, "checks": [asdict(check) for check in verdicts]}
        about |= {"load": smoke_load.as_json(under_load) if under_load else None}
        data({"apiVersion": versions.API_VERSION, "gateway": _about(found)} | about, output)
    return 0 if ok else 1


def _about(found: Opened) -> dict[str, str]:
    gateway = found.gateway
    return {"cluster": found.cluster, "url": gateway.url, "host": gateway.host, "simulated": found.simulated}


def _silent(check: Check) -> None:
    pass


def _show(check: Check) -> None:
    mark, colour = _MARKS[check.state.value]
    click.echo(f"{click.style(mark, fg=colour)} {check.name.ljust(10)}  {check.message}")
    if check.fix:
        click.echo(f"{' ' * 14}to go on: {check.fix}")


def _show_load(load: Load) -> None:
    from capi_llm.models.smoke_load import PERCENTILES, percentile

    if load.answers:
        rows = [("", *(f"p{percent}" for percent in PERCENTILES))]
        for name, values in (("first token", load.first), ("whole answer", load.whole)):
            rows.append((name, *(f"{percentile(values, percent):.3f} s" for percent in PERCENTILES)))
        click.echo("\n".join(columns(rows)))
        click.echo(
            "answered by  " + ", ".join(f"{name[:12]} × {n}" for name, n in load.backends.most_common())
        )


COMMANDS = (smoke,)
