"""The gateway as it is deployed, without a cluster: real LiteLLM, Redis and PostgreSQL on loopback.

Configurations are those that capi-llm renders: models by `capi_llm.models`, the ConfigMap by helm from the
bundle. Models are mocks; everything before them is real.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from capi_llm.errors import CapiLlmError
from capi_llm.models import litellm as rendering
from capi_llm.models import routes, split
from capi_llm.models.gateway_address import Gateway
from capi_llm.models.keys import Keys, Limits, check_own
from capi_llm.sandbox import executables
from capi_llm.settings import Backend, Model, Secret, Settings
from soaking import gateway_parts as parts
from soaking.one_address import Address, address

BUNDLE = Path(__file__).parent.parent.parent / "bundles/litellm-config"
Say = Callable[[str], None]
ROUNDS = ("canary", "rollout", "database", "limits", "keys")
CHAT = Model(
    "chat",
    (
        Backend("primary", "mock", "chat", weight=90, answer="primary"),
        Backend("canary", "mock", "chat", weight=10, answer="canary"),
    ),
)
LIMITED = Model("limited", (Backend("mock", "mock", "limited"),), requests_per_minute=5)
TOKENS = Model("tokens", (Backend("mock", "mock", "tokens", answer="word " * 40),), tokens_per_minute=60)
DRAIN = 6.0
"""Seconds; a pod's `drainSeconds`."""


class Bench:
    """Where one run has its files and secrets."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder, self.say = folder, say
        self.master = Secret(f"sk-{secrets.token_urlsafe(24)}")
        self.word = secrets.token_urlsafe(24)
        self.salt = f"sk-{secrets.token_urlsafe(24)}"
        self._helm = executables.bring(Settings.from_environment())["helm"]
        self._configs = 0

    def config(self, *models: Model, redis: int = 0, **general: Any) -> Path:
        """The file that LiteLLM would find in the ConfigMap."""
        values = rendering.values(models)
        if redis:
            values["redis"] = {"enabled": True, "host": "127.0.0.1", "port": redis}
        done = subprocess.run(
            [str(self._helm), "template", "litellm-config", str(BUNDLE), "--values", "-"],
            input=json.dumps(values), text=True, capture_output=True, check=True,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
        )  # fmt: skip
        data = yaml.safe_load(done.stdout)["data"]
        (self.folder / "hooks.py").write_text(data["hooks.py"])
        found = yaml.safe_load(data["config.yaml"])
        found["general_settings"].update(general)
        self._configs += 1
        path = self.folder / f"config-{self._configs}.yaml"
        path.write_text(yaml.safe_dump(found))
        return path

    @property
    def env(self) -> dict[str, str]:
        return {"LITELLM_MASTER_KEY": self.master.reveal()}

    def gateway(self, url: str) -> Gateway:
        return Gateway(url, key=self.master)


def series(only: str, say: Say) -> list[dict[str, Any]]:
    wanted = [name for name in ROUNDS if not only or name in only.split(",")]
    rounds = []
    with tempfile.TemporaryDirectory(prefix="gw") as folder:
        os.chmod(folder, 0o755)  # PostgreSQL runs as another user
        bench = Bench(Path(folder), say)
        for name in wanted:
            began = time.monotonic()
            try:
                found = globals()[f"_{name}"](bench)
            except parts.Missing as error:
                found = {"wrong": "", "skipped": str(error)}
            except Exception as error:  # a round that fails is told, and the others go on
                found = {"wrong": f"{type(error).__name__}: {error}"[:2000]}
            found = {"round": name, "seconds": round(time.monotonic() - began, 1), **found}
            say(json.dumps(found, ensure_ascii=False))
            rounds.append(found)
    return rounds


def bound(of: int, share: float) -> tuple[int, int]:
    """The hits between which 99.99 % of binomial samples lie, computed exactly."""
    tail, low, high = 0.00005, 0, of
    mass = 0.0
    for hits in range(of + 1):
        mass += math.exp(
            math.lgamma(of + 1) - math.lgamma(hits + 1) - math.lgamma(of - hits + 1)
            + hits * math.log(share) + (of - hits) * math.log(1 - share)
        )  # fmt: skip
        if mass < tail:
            low = hits + 1
        if mass >= 1 - tail:
            high = hits
            break
    return low, high


def _canary(bench: Bench) -> dict[str, Any]:
    with parts.litellm(bench.folder, bench.config(CHAT), bench.env) as server:
        gateway = bench.gateway(server.url)
        split.require_ready(gateway, CHAT, ["primary", "canary"], within=60)
        known = split.known_weights(gateway, CHAT, within=60)
        answers, failed = split.measure(gateway, CHAT, 1000, within=60)
    low, high = bound(1000, 0.1)
    canary = answers.get("canary", 0)
    share = next(item for item in split.shares(CHAT, answers) if item.backend == "canary")
    right = failed == 0 and low <= canary <= high and known == CHAT.weights
    return {
        "wrong": "" if right else "the split is not the one that was asked for",
        "requests": 1000, "failed": failed, "answers": answers, "weights at the gateway": known,
        "99.99 % bound of the canary": [low, high], "95 % interval": [share.low, share.high],
        "seconds to ready": round(server.seconds, 1),
    }  # fmt: skip


class Load:
    """Constant requests to one address, from several clients, until it ends."""

    def __init__(self, url: str, key: Secret, clients: int = 4) -> None:
        self.answers: list[tuple[float, str]] = []
        self.lost: list[str] = []
        self._end = threading.Event()
        self._url, self._key = url, key
        self._threads = [
            threading.Thread(target=self._ask, args=(number % 2 == 0,)) for number in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *of: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, keep_alive: bool) -> None:
        headers = {"Authorization": f"Bearer {self._key.reveal()}"}
        headers |= {} if keep_alive else {"Connection": "close"}
        body = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}
        client = httpx.Client(timeout=60)
        while not self._end.is_set():
            try:
                reply = client.post(f"{self._url}/v1/chat/completions", headers=headers, json=body)
                if reply.status_code != 200:
                    self.lost.append(f"{reply.status_code} {reply.text[:200]}")
                    continue
                self.answers.append((time.monotonic(), reply.headers.get(split.ANSWERED_BY, "?")))
            except httpx.TransportError as error:
                kept = "kept" if keep_alive else "new"
                self.lost.append(f"{kept} connection: {type(error).__name__} {error}")
        client.close()

    def until(self, count: int, seconds: float = 240) -> None:
        parts.until(lambda: len(self.answers) >= count, f"{count} answers", seconds)


def _roll(
    bench: Bench, stack: contextlib.ExitStack, before: Address, servers: Sequence[parts.LiteLLM], config: Path
) -> list[parts.LiteLLM]:
    """Replace servers one by one, as a Deployment with maxUnavailable 0 and maxSurge 1 does."""
    fresh: list[parts.LiteLLM] = []
    for old in servers:
        new = stack.enter_context(parts.litellm(bench.folder, config, bench.env))
        fresh.append(new)
        before.backends = (*before.backends, new.port)
        before.backends = tuple(port for port in before.backends if port != old.port)
        old.drain.touch()  # preStop: from now on it tells clients to go elsewhere
        time.sleep(DRAIN)
        old.end()
    return fresh


def _rollout(bench: Bench) -> dict[str, Any]:
    start = bench.config(CHAT)
    promoted = bench.config(routes.routed(CHAT, routes.promotion(CHAT)))
    back = bench.config(routes.routed(CHAT, routes.rollback(CHAT)))
    with contextlib.ExitStack() as stack, address() as before:
        servers = [stack.enter_context(parts.litellm(bench.folder, start, bench.env)) for _ in range(2)]
        before.backends = tuple(server.port for server in servers)
        with Load(before.url, bench.master) as load:
            load.until(500)
            servers = _roll(bench, stack, before, servers, promoted)
            after_promotion = len(load.answers)
            load.until(after_promotion + 500)
            after_promoted = _who(load.answers[after_promotion + 20 :])
            servers = _roll(bench, stack, before, servers, back)
            after_rollback = len(load.answers)
            load.until(max(after_rollback + 500, 2500))
            after_back = _who(load.answers[after_rollback + 20 :])
    right = not load.lost and set(after_promoted) == {"chat@canary"} and set(after_back) == {"chat@primary"}
    return {
        "wrong": "" if right else "requests were lost, or the wrong backend answered",
        "answers": len(load.answers), "lost": len(load.lost), "lost, the first": load.lost[:5],
        "clients": "4, half of them keep connections", "processes": 2, "rollouts": 2,
        "answered after promotion": after_promoted, "answered after rollback": after_back,
    }  # fmt: skip


def _who(answers: Sequence[tuple[float, str]]) -> dict[str, int]:
    return dict(Counter(name for _, name in answers))


@contextlib.contextmanager
def _with_database(bench: Bench) -> Iterator[tuple[dict[str, str], int]]:
    """The environment of LiteLLM with a database, and the port of Redis."""
    prisma = parts.prepared(Settings.from_environment().cache / "soak-prisma")
    place = bench.folder / secrets.token_hex(4)
    place.mkdir()
    with parts.postgresql(place, bench.word) as url, parts.redis(place, bench.word) as port:
        more = {"DATABASE_URL": url, "LITELLM_SALT_KEY": bench.salt, "REDIS_PASSWORD": bench.word}
        yield (
            {**bench.env, **prisma, **more, "QUERY_ENGINE_LOG": str(bench.folder / "query-engine.log")},
            port,
        )


def _database(bench: Bench) -> dict[str, Any]:
    """The other way to a changed route: models in LiteLLM's database, changed by its API under load."""
    with _with_database(bench) as (env, redis), contextlib.ExitStack() as stack, address() as before:
        config = bench.config(redis=redis, store_model_in_db=True)
        servers = [stack.enter_context(parts.litellm(bench.folder, config, env)) for _ in range(2)]
        before.backends = tuple(server.port for server in servers)
        headers = {"Authorization": f"Bearer {bench.master.reveal()}"}
        for entry in rendering.values([CHAT])["models"]:
            reply = httpx.post(f"{servers[0].url}/model/new", headers=headers, json=entry, timeout=60)
            if reply.status_code != 200:
                raise RuntimeError(f"/model/new: {reply.status_code} {reply.text[:500]}")

        def both() -> bool:
            gateways = [bench.gateway(server.url) for server in servers]
            return all(split.known_weights(gateway, CHAT, within=30) == CHAT.weights for gateway in gateways)

        first = parts.until(both, "the models at both processes", 180)
        with Load(before.url, bench.master) as load:
            load.until(300)
            began = time.monotonic()
            for name, weight in routes.promotion(CHAT).items():
                change = {"litellm_params": {"weight": weight}}
                reply = httpx.patch(
                    f"{servers[0].url}/model/{rendering.entry_id('chat', name)}/update",
                    headers=headers, json=change, timeout=60,
                )  # fmt: skip
                if reply.status_code != 200:
                    raise RuntimeError(f"/model/update: {reply.status_code} {reply.text[:500]}")
            promoted = routes.routed(CHAT, routes.promotion(CHAT))
            times = {}
            for server in servers:
                gateway = bench.gateway(server.url)

                def seen(gateway: Gateway = gateway) -> bool:
                    return split.known_weights(gateway, CHAT, within=30) == promoted.weights

                parts.until(seen, "the new weights", 240)
                times[server.port] = round(time.monotonic() - began, 1)
            count = len(load.answers)
            load.until(count + 300)
            after = _who(load.answers[count + 20 :])
        return {
            "wrong": "",
            "answers": len(load.answers), "lost": len(load.lost), "lost, the first": load.lost[:3],
            "seconds until both had new models": round(first, 1),
            "seconds until each had new weights": list(times.values()),
            "answered after promotion": after,
        }  # fmt: skip


def _post(url: str, key: str, model: str, header: str = "Authorization") -> httpx.Response:
    value = f"Bearer {key}" if header == "Authorization" else key
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    return httpx.post(f"{url}/v1/chat/completions", headers={header: value}, json=body, timeout=60)


def _statuses(replies: Sequence[httpx.Response]) -> list[int]:
    return [reply.status_code for reply in replies]


def _early_in_the_minute() -> None:
    """LiteLLM counts a model's requests by the minute of the clock."""
    second = time.time() % 60
    if second > 30:
        time.sleep(60.5 - second)


def _limits(bench: Bench) -> dict[str, Any]:
    """Limits of models, with Redis: two processes count together."""
    place = bench.folder / secrets.token_hex(4)
    place.mkdir()
    with parts.redis(place, bench.word) as port, contextlib.ExitStack() as stack:
        config = bench.config(LIMITED, TOKENS, CHAT, redis=port)
        env = {**bench.env, "REDIS_PASSWORD": bench.word}
        servers = [stack.enter_context(parts.litellm(bench.folder, config, env)) for _ in range(2)]
        key = bench.master.reveal()
        _early_in_the_minute()
        replies = [_post(servers[n % 2].url, key, "limited") for n in range(7)]
        tokens = []
        for n in range(6):
            tokens.append(_post(servers[n % 2].url, key, "tokens"))
            time.sleep(0.5)  # tokens are counted after the answer
        free = _post(servers[0].url, key, "chat")
    used = [reply.json()["usage"]["total_tokens"] for reply in tokens if reply.status_code == 200]
    statuses, of_tokens = _statuses(replies), _statuses(tokens)
    after = {reply.headers.get("retry-after") for reply in replies if reply.status_code == 429}
    right = (
        statuses == [200] * 5 + [429] * 2
        and None not in after
        and 429 in of_tokens
        and sum(used[:-1]) < 60 <= sum(used)
        and free.status_code == 200
    )
    return {
        "wrong": "" if right else "a limit did not answer as it should",
        "5 requests a minute, 7 asked of 2 processes in turn": statuses,
        "Retry-After": sorted(str(item) for item in after),
        "60 tokens a minute": of_tokens, "tokens of each answer": used,
        "Retry-After of tokens": [r.headers.get("retry-after") for r in tokens if r.status_code == 429][:1],
        "another model meanwhile": free.status_code,
    }  # fmt: skip


def _keys(bench: Bench) -> dict[str, Any]:
    """Keys through LiteLLM's API and PostgreSQL, on two processes with Redis."""
    found: dict[str, Any] = {}
    with _with_database(bench) as (env, port), contextlib.ExitStack() as stack:
        config = bench.config(CHAT, LIMITED, redis=port)
        servers = [stack.enter_context(parts.litellm(bench.folder, config, env)) for _ in range(2)]
        first, second = (server.url for server in servers)
        keys = Keys(bench.gateway(first))
        made = keys.create("team", limits=Limits(requests=5))
        team = made.reveal()
        replies = [_post((first, second)[n % 2], team, "chat") for n in range(7)]
        found["5 requests a minute of one key, 7 asked of 2 processes in turn"] = _statuses(replies)
        found["Retry-After"] = sorted(
            {str(r.headers.get("retry-after")) for r in replies if r.status_code == 429}
        )
        free = keys.create("free", models=["chat"]).reveal()
        found["X-API-Key"] = _post(second, free, "chat", "X-API-Key").status_code
        found["Bearer"] = _post(second, free, "chat").status_code
        found["a model that the key may not ask"] = _post(first, free, "limited").status_code
        by_model = keys.create("by-model", limits=Limits(requests_by_model={"chat": 2})).reveal()
        found["2 requests a minute to one model"] = _statuses(
            [_post(first, by_model, "chat") for _ in range(3)]
        )
        tokens = keys.create("tokens", limits=Limits(tokens=40)).reveal()
        spent = []
        for _ in range(8):
            spent.append(_post(first, tokens, "chat"))
            time.sleep(0.5)
        found["40 tokens a minute of one key"] = _statuses(spent)
        own = check_own(Secret("sk-a-key-of-our-own-0123456789"))
        keys.create("own", own=own)
        found["a key of one's own"] = _post(second, own.reveal(), "chat").status_code
        found["a key without sk-"] = _post(second, "a-key-of-our-own-0123456789", "chat").status_code
        for what, name, model in (("there is one", "own", "chat"), ("no such model", "x", "chats")):
            try:
                keys.create(name, models=[model])
                found[what] = "taken"
            except CapiLlmError as error:
                found[what] = str(error)
        found["listed"] = [key.name for key in keys.list()]
        keys.revoke("free")
        began = time.monotonic()
        found["revoked, at the same process"] = _post(first, free, "chat").status_code
        parts.until(lambda: _post(second, free, "chat").status_code == 401, "401 at the other process", 120)
        found["seconds until the other process answers 401"] = round(time.monotonic() - began, 1)
        found["listed after"] = [key.name for key in keys.list()]
        try:
            keys.revoke("fre")
            found["revoking what is not there"] = "done"
        except CapiLlmError as error:
            found["revoking what is not there"] = str(error)
        with httpx.Client() as client:
            logs = "".join(path.read_text(errors="replace") for path in bench.folder.glob("**/*.log"))
            client.close()
        shown = [
            key for key in (team, free, by_model, tokens, bench.master.reveal(), bench.word) if key in logs
        ]
        found["secrets in logs"] = len(shown)
    right = (
        found["5 requests a minute of one key, 7 asked of 2 processes in turn"] == [200] * 5 + [429] * 2
        and "None" not in found["Retry-After"]
        and (found["X-API-Key"], found["Bearer"], found["a key of one's own"]) == (200, 200, 200)
        and found["a model that the key may not ask"] in (401, 403)
        and found["2 requests a minute to one model"] == [200, 200, 429]
        and 429 in found["40 tokens a minute of one key"]
        and found["a key without sk-"] == 401
        and found["revoked, at the same process"] == 401
        and "free" not in found["listed after"]
        and not found["secrets in logs"]
    )
    return {"wrong": "" if right else "a key did not do what it should", **found}
