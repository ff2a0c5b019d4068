"""``models``: the models of the settings: list, add, remove, import, pull; and their routes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capi_llm import versions
from capi_llm.backends import PROVIDERS, TYPES
from capi_llm.cli import names
from capi_llm.cli.console import columns, data
from capi_llm.cli.model_fit import fit
from capi_llm.cli.model_routes import promote, rollback, route
from capi_llm.cli.options import State, output, pass_state, plane_name, timeout

if TYPE_CHECKING:
    from capi_llm.settings import Backend, KeyRef, Model


@click.group()
def models() -> None:
    """Models behind the gateway: which there are, where they are served, who gets which share.

    \b
    capi-llm models add chat --type vllm --model Qwen/Qwen2.5-7B-Instruct --deploy-gpus 1
    capi-llm models route chat primary=90 canary=10 --cluster demo
    """


@models.command("list")
@output("table", "json", "yaml")
@pass_state
def list_models(state: State, output: str) -> None:
    """Every model of the settings, with its backends and their weights."""
    from capi_llm.models import defaults
    from capi_llm.settings.models import written

    settings = state.settings
    found = settings.models if settings.models is not None else defaults.models(settings.provider_keys)
    if output != "table":
        source = settings.models_at if settings.models is not None else "default"
        rows = [written(model) for model in found]
        data({"apiVersion": versions.API_VERSION, "from": source, "models": rows}, output)
        return
    table = [("MODEL", "BACKEND", "TYPE", "SERVED AS", "WEIGHT", "FALLBACKS")]
    for model in found:
        for number, backend in enumerate(model.backends):
            table.append(
                (
                    "" if number else model.name,
                    backend.name,
                    backend.type,
                    _place(model, backend),
                    "" if backend.weight is None else str(backend.weight),
                    "" if number else ", ".join(model.fallbacks),
                )
            )
    click.echo("\n".join(columns(table)))


def _place(model: Model, backend: Backend) -> str:
    from capi_llm.models.serving import address

    where = address(model, backend) if backend.serving is not None else backend.url
    return f"{backend.model} at {where}" if where else backend.model


@models.command("add")
@click.argument("name")
@click.option("--type", "kind", type=click.Choice(TYPES), required=True, help="What serves it.")
@click.option("--model", default="", metavar="MODEL", help="Its name there.  [default: NAME]")
@click.option("--url", default="", metavar="URL", help="Where it is served, such as http://worker:8000/v1.")
@click.option("--backend", default="", metavar="NAME", help="Name of the backend.  [default: its type]")
@click.option("--weight", type=click.IntRange(0, 1000), metavar="N", help="Its share, beside the others'.")
@click.option(
    "--api-key",
    default="",
    metavar="WHERE",
    help=f"SECRET/KEY, or {' or '.join(PROVIDERS.values())}; never the key itself.",
)
@click.option("--deploy-gpus", type=click.IntRange(1, 64), metavar="N", help="Serve it in the cluster.")
@click.option("--runtime-class", default="", metavar="NAME", help="RuntimeClass of its pod, such as nvidia.")
@click.option("--context", type=click.IntRange(1), metavar="TOKENS", help="Context length.")
@click.option(
    "--model-timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="One answer."
)
@click.option("--fallback", "fallbacks", multiple=True, metavar="MODEL", help="Asked where this one fails.")
@click.option("--rpm", type=click.IntRange(1), metavar="N", help="Requests a minute of all clients.")
@click.option("--tpm", type=click.IntRange(1), metavar="N", help="Tokens a minute of all clients.")
@pass_state
def add(
    state: State,
    name: str,
    kind: str,
    model: str,
    url: str,
    backend: str,
    weight: int | None,
    api_key: str,
    deploy_gpus: int | None,
    runtime_class: str,
    context: int | None,
    model_timeout: float | None,
    fallbacks: tuple[str, ...],
    rpm: int | None,
    tpm: int | None,
) -> None:
    """Add model NAME to capi-llm.yaml, or a backend to it. A new backend begins with weight 0."""
    from dataclasses import replace

    from capi_llm.models import editing
    from capi_llm.settings import Backend, Model, Serving
    from capi_llm.settings.models import backend_type, default_model

    there = {item.name: item for item in _own(state)}
    item = Backend(
        backend or kind,
        backend_type(kind),
        model or default_model(name, backend_type(kind)),
        url,
        weight,
        _key_ref(api_key) if api_key else None,
        Serving(gpus=deploy_gpus, runtime_class=runtime_class) if deploy_gpus else None,
    )
    old = there.get(name)
    others = [one for one in old.backends if one.name != item.name] if old else []
    if others and weight is None:
        # Nobody asks a new backend before it was looked at; LiteLLM would take a missing weight for 0.
        item = replace(item, weight=0)
        others = [one if one.weight is not None else replace(one, weight=100) for one in others]
    fresh = Model(
        name,
        (*others, item),
        context_length=context or (old.context_length if old else None),
        timeout=model_timeout or (old.timeout if old else None),
        stream_timeout=old.stream_timeout if old else None,
        fallbacks=fallbacks or (old.fallbacks if old else ()),
        requests_per_minute=rpm or (old.requests_per_minute if old else None),
        tokens_per_minute=tpm or (old.tokens_per_minute if old else None),
    )
    _save(state, editing.put([*_defaults(state), fresh]), f"Model {name}, backend {item.name}")


@models.command("remove")
@click.argument("name", shell_complete=names.models)
@click.option("--backend", default="", metavar="NAME", help="Only this backend of it.")
@pass_state
def remove(state: State, name: str, backend: str) -> None:
    """Take model NAME out of capi-llm.yaml, or one backend of it."""
    from dataclasses import replace

    from capi_llm.errors import BadInput
    from capi_llm.models import editing, routes

    model = routes.find([*_own(state), *_defaults(state)], name)
    if not backend:
        kept = [item for item in _defaults(state) if item.name != name]
        _save(state, _both(editing.put(kept), editing.take_out(name)), f"Model {name} taken out")
        return
    if model.backend(backend) is None:
        raise routes.no_backend(model, backend)
    left = tuple(item for item in model.backends if item.name != backend)
    if not left:
        raise BadInput(f"{backend!r} is the only backend of {name!r}", fix=f"capi-llm models remove {name}")
    if not any(item.weight is None or item.weight for item in left):
        raise BadInput(
            f"the other backends of {name!r} have weight 0",
            why="nobody would answer",
            fix=f"give them the requests first: capi-llm models route {name} {left[0].name}=100 {backend}=0",
        )
    _save(state, editing.put([replace(model, backends=left)]), f"Backend {backend} of {name} taken out")


@models.command("import")
@click.option(
    "--env",
    "env",
    type=click.Path(path_type=Path),
    required=True,
    help="Environment file of an older gateway.",
)
@click.option("--dry-run", is_flag=True, help="Print the models, change nothing.")
@pass_state
def import_models(state: State, env: Path, dry_run: bool) -> None:
    """Take over GATEWAY_UPSTREAMS, GATEWAY_DEFAULT_UPSTREAM and GATEWAY_ROUTE_POLICIES."""
    from capi_llm.models import editing, env_file
    from capi_llm.settings.models import written

    found = env_file.read(env)
    if dry_run:
        data({"models": [written(model) for model in found]}, "yaml")
        return
    _save(state, editing.put(found), f"{len(found)} models of {env}")


@models.command("pull")
@click.argument("cluster", required=False, default="", shell_complete=names.clusters)
@click.argument("names_of_models", nargs=-1, metavar="[MODEL]...")
@click.option("--url", default="", metavar="URL", help="Of an Ollama elsewhere.")
@timeout("APPS")
@plane_name
@pass_state
def pull(state: State, cluster: str, names_of_models: tuple[str, ...], url: str, timeout: float) -> None:
    """Bring models into the Ollama of CLUSTER: those named, else those of the settings that it lacks."""
    from capi_llm.models import pulling, serving
    from capi_llm.waiting import ready

    if url and cluster:  # the first word is a model then
        names_of_models = (cluster, *names_of_models)
    wanted = list(names_of_models) or serving.pulled([*_own(state), *_defaults(state)])
    with _ollama(state, "" if url else cluster, url) as address, state.console.drawing() as drawing:
        for name in wanted:

            def heard(text: str, part: float | None, name: str = name) -> None:
                drawing.show([f"· {name}  {text}" + (f" {part:.0%}" if part is not None else "")], plain=[])

            pulling.pull(address, name, within=timeout, heard=heard)
            state.console.mark(ready(), f"{name} is there.")


@contextmanager
def _ollama(state: State, cluster: str, url: str) -> Iterator[str]:
    from contextlib import ExitStack, closing

    from capi_llm import plane
    from capi_llm.forward import origins
    from capi_llm.forward.forwarder import Forwarder
    from capi_llm.models.gateway_address import address

    if url:
        yield address(url)
        return
    words = origins.parse((cluster, "ollama:0") if cluster else ("ollama:0",))
    with plane.connected(state.settings, state.plane) as here, ExitStack() as kept:
        _, (origin,) = origins.find(here, words, kept)
        with closing(
            Forwarder(wait=60.0, report=lambda app, text: state.console.say(f"{app}: {text}"))
        ) as way:
            (forward,) = way.start([(origin.credentials, origin.targets)])
            yield forward.url


def _own(state: State) -> Sequence[Model]:
    return state.settings.models or ()


def _defaults(state: State) -> Sequence[Model]:
    """The default models, which a file with ``models:`` no longer has by itself."""
    from capi_llm.models import defaults

    return defaults.models(state.settings.provider_keys) if state.settings.models is None else ()


def _both(first: Any, second: Any) -> Any:
    def change(listed: Any) -> None:
        first(listed)
        second(listed)

    return change


def _save(state: State, change: Any, what: str) -> None:
    from capi_llm.models import editing

    path, wrote = editing.save(state.settings.file or state.config, change)
    if wrote:
        state.console.say(f"{what}: {path} was changed. Next: capi-llm apps apply CLUSTER")
    else:
        state.console.say(f"{what}: {path} says so already; nothing was changed.")


def _key_ref(text: str) -> KeyRef:
    from capi_llm.errors import BadInput
    from capi_llm.settings import KeyRef

    secret, slash, key = text.partition("/")
    if slash and secret and key:
        return KeyRef(secret=secret, key=key)
    if text in PROVIDERS.values():
        return KeyRef(variable=text)
    raise BadInput(  # the value is not shown: it may be a key
        "--api-key is neither SECRET/KEY nor a known variable",
        why="a key itself does not belong into a command line",
        fix=f"put it into a Secret beside LiteLLM, or into {' or '.join(PROVIDERS.values())}",
    )


for _command in (fit, route, promote, rollback):
    models.add_command(_command)

COMMANDS = (models,)
