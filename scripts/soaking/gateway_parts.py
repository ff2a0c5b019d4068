"""A real PostgreSQL, a real Redis and real LiteLLM processes on loopback, for the series `gateway`.

PostgreSQL and Redis are Debian's (apt-get install postgresql redis-server). LiteLLM reaches its database by
Prisma, whose query engine is a native executable from a download site; where that can not be had, the same
engine as WebAssembly from npm takes its place (query_engine.mjs), and migrations are applied by psql.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).parent
PRISMA = "5.17.0"
PRISMA_PYTHON = "0.15.0"
ENGINE = HERE / "query_engine.mjs"


class Missing(Exception):
    """Something that has to be installed first."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(argv: Sequence[str | Path], **more: object) -> str:
    command = [str(item) for item in argv]
    done = subprocess.run(command, capture_output=True, text=True, **more)  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
    return str(done.stdout)


def until(probe: Callable[[], object], what: str, seconds: float) -> float:
    """Wait until ``probe`` is true; returns after how many seconds."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if probe():
            return time.monotonic() - began
        time.sleep(0.1)
    raise RuntimeError(f"{what} did not come about in {seconds:g} s")


def answers(url: str) -> bool:
    """Whether it says 200. Without httpx: its clients take longer to make than this."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=5)
    try:
        connection.request("GET", where.path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def prepared(folder: Path) -> dict[str, str]:
    """The environment in which Prisma works, made in ``folder`` at the first time (needs PyPI and npm)."""
    import litellm_proxy_extras

    extras = Path(litellm_proxy_extras.__file__).parent
    schema = folder / "schema.prisma"
    done = folder / f"ready-{PRISMA}-{PRISMA_PYTHON}"
    folder.mkdir(parents=True, exist_ok=True)
    site = Path(litellm_proxy_extras.__file__).parent.parent
    if not (done.exists() and (site / "prisma/client.py").exists()):
        if shutil.which("node") is None or shutil.which("npm") is None:
            raise Missing("Node.js with npm is missing: apt-get install nodejs npm")
        lines = (extras / "schema.prisma").read_text().splitlines()
        schema.write_text("\n".join(line for line in lines if "binaryTargets" not in line) + "\n")
        (folder / "package.json").write_text('{"name": "query-engine", "private": true}\n')
        packages = [f"{name}@{PRISMA}" for name in ("prisma", "@prisma/client", "@prisma/adapter-pg")]
        packages += ["pg@8", "graphql@16"]
        run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *packages], cwd=folder)
        run([sys.executable, "-m", "pip", "install", "-q", f"prisma=={PRISMA_PYTHON}"])
        stub = folder / "library.so.node"  # looked for, and not used by what generates the client
        stub.touch()
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PRISMA_QUERY_ENGINE_BINARY": str(ENGINE),
            "PRISMA_QUERY_ENGINE_LIBRARY": str(stub),
            "PRISMA_SCHEMA_ENGINE_BINARY": str(ENGINE),
            "PRISMA_HIDE_UPDATE_MESSAGE": "1",
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "QUERY_ENGINE_MODULES": str(folder),
        }
        command = folder / "node_modules/prisma/build/index.js"
        run(["node", command, "generate", "--schema", schema], env=environment, cwd=folder)
        done.touch()
    return {
        "QUERY_ENGINE_MODULES": str(folder),
        "QUERY_ENGINE_SCHEMA": str(schema),
        "PRISMA_QUERY_ENGINE_BINARY": str(ENGINE),
    }


@contextlib.contextmanager
def process(argv: Sequence[str | Path], log: Path, **more: object) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as file:
        child = subprocess.Popen(
            [str(item) for item in argv], stdout=file, stderr=file, stdin=subprocess.DEVNULL, **more
        )  # type: ignore[call-overload]
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextlib.contextmanager
def postgresql(folder: Path, password: str) -> Iterator[str]:
    """A PostgreSQL with LiteLLM's tables; its URL."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not programs:
        raise Missing("PostgreSQL is missing: apt-get install postgresql")
    home, port = folder / "postgresql", free_port()
    home.mkdir()
    word = folder / "word"
    word.write_text(password)
    more: dict[str, object] = {}
    if os.geteuid() == 0:  # it refuses to run as root
        for path in (folder, home, word):
            shutil.chown(path, "postgres")
        more = {"user": "postgres", "group": "postgres", "extra_groups": []}
    bins = programs[-1].parent
    run([bins / "initdb", "-D", home / "data", "-U", "litellm", "-A", "scram-sha-256", f"--pwfile={word}"],
        cwd=home, **more)  # fmt: skip
    place = ("-D", home / "data", "-p", str(port), "-k", home, "-c", "listen_addresses=127.0.0.1")
    with process((bins / "postgres", *place), folder / "postgresql.log", cwd=home, **more):
        env = {**os.environ, "PGPASSWORD": password}
        psql = ["psql", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "litellm", "-v", "ON_ERROR_STOP=1"]
        ready = [bins / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-q"]
        until(lambda: not subprocess.run([str(item) for item in ready]).returncode, "PostgreSQL", 60)
        run([*psql, "-d", "postgres", "-c", "create database litellm"], env=env)
        import litellm_proxy_extras

        migrations = Path(litellm_proxy_extras.__file__).parent / "migrations"
        whole = "\n".join(path.read_text() for path in sorted(migrations.glob("*/migration.sql")))
        run([*psql, "-d", "litellm"], env=env, input=whole)
        yield f"postgresql://litellm:{password}@127.0.0.1:{port}/litellm"


@contextlib.contextmanager
def redis(folder: Path, password: str) -> Iterator[int]:
    """A Redis; its port. It reads the password from standard input, as in the bundle."""
    if shutil.which("redis-server") is None:
        raise Missing("Redis is missing: apt-get install redis-server")
    port = free_port()
    lines = ["bind 127.0.0.1", f"port {port}", f"requirepass {password}", 'save ""', "appendonly no", ""]
    with (folder / "redis.log").open("ab") as log:
        child = subprocess.Popen(
            ["redis-server", "-"], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder
        )
    try:
        assert child.stdin is not None
        child.stdin.write("\n".join(lines).encode())
        child.stdin.close()

        def listens() -> bool:
            with socket.socket() as probe:
                return not probe.connect_ex(("127.0.0.1", port))

        until(listens, "Redis", 30)
        yield port
    finally:
        child.terminate()
        child.wait(20)


@dataclass
class LiteLLM:
    """One LiteLLM process."""

    port: int
    child: subprocess.Popen[bytes]
    seconds: float
    """From its start to ready."""

    drain: Path
    """The file that a pod's preStop makes."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        return answers(f"{self.url}/health/readiness")

    def end(self, wait: float = 60) -> int:
        """SIGTERM, as a kubelet sends it; returns the exit code."""
        self.child.terminate()
        return self.child.wait(wait)


@contextlib.contextmanager
def litellm(folder: Path, config: Path, env: dict[str, str], port: int = 0) -> Iterator[LiteLLM]:
    """LiteLLM with that configuration, ready."""
    port = port or free_port()
    argv = (sys.executable, "-P", "-c", "from litellm.proxy.proxy_cli import run_server; run_server()",
            "--config", config, "--host", "127.0.0.1", "--port", str(port),
            "--telemetry", "False")  # fmt: skip
    around = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "DISABLE_SCHEMA_UPDATE": "true",
        "DRAIN_FILE": str(folder / f"draining-{port}"),
        **env,
    }
    with process(argv, folder / f"litellm-{port}.log", cwd=folder, env=around) as child:
        found = LiteLLM(port, child, 0.0, folder / f"draining-{port}")

        def up() -> bool:
            if child.poll() is not None:
                text = (folder / f"litellm-{port}.log").read_text()[-3000:]
                raise RuntimeError(f"LiteLLM ended with {child.returncode}: {text}")
            return found.ready()

        found.seconds = until(up, "LiteLLM", 900)
        yield found
