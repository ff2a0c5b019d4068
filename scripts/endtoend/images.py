"""Every image of the run, as files for `docker load`: what is in each, and under which names."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

import yaml

from capi_llm.tools.attempts import Progress
from capi_llm.tools.parts import Source
from endtoend import archive, binaries, knative, names, node, rootfs
from endtoend.archive import Image, Layer

# Not /bin: that is a link on Debian, and a layer with a folder of that name would take its place.
_BIN = "/usr/local/bin"
_HAPROXY = """#!/bin/sh
# The load balancer's configuration asks for more connections than a low limit of open files allows.
exec /usr/sbin/haproxy -f /usr/local/etc/haproxy-limits.cfg "$@"
"""
_HAPROXY_LIMITS = "global\n  no strict-limits\n"
# What kind's image is started with, until the provider has written its own.
_HAPROXY_START = """defaults
  mode tcp
  timeout connect 5s
  timeout client 50s
  timeout server 50s
frontend nothing
  bind 127.0.0.1:65535
"""
STANDINS = {"ollama": "11434", "litellm": "4000", "openwebui": "8080"}
"""Bundles whose image is a stand-in here, and the port that it listens on."""

IN_BOTH = "in-both"
"""The archive of :func:`names.on_any_node` for both versions, in a run with an upgrade."""


@dataclass(frozen=True)
class Ready:
    """What the second half of the run needs."""

    archives: Sequence[Path]
    kind: Path
    kubectl: Path
    runtime: Path
    charts: Path
    """A chart repository for Knative's operator; a folder that is not there, where it is not wanted."""


class Maker:
    """Makes layers and files of images in the cache folder, each once by its content."""

    def __init__(self, cache: Path, progress: Progress, say: Callable[[str], None]) -> None:
        self.cache = cache
        self.progress = progress
        self.say = say
        self.used: list[Path] = []

    def layer(
        self, name: str, files: Mapping[str, Path | str], links: Mapping[str, str] | None = None
    ) -> Layer:
        about = [[to, str(content)] for to, content in sorted(files.items())] + sorted((links or {}).items())
        key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
        tar = self.cache / "layers" / f"{name}-{key}.tar"
        tar.parent.mkdir(parents=True, exist_ok=True)
        self.used.append(tar)
        return Layer(tar) if tar.is_file() else archive.layer(tar, files, links)

    def save(self, name: str, images: Sequence[Image]) -> Path:
        about = [[list(image.names), image.digest] for image in images]
        key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
        to = self.cache / "images" / f"{name}-{key}.tar"
        to.parent.mkdir(parents=True, exist_ok=True)
        self.used.append(to)
        return to if to.is_file() else archive.save(images, to)

    def single(self, name: str, executable: Path, *image_names: str, user: str = "", at: str = _BIN) -> Image:
        """An image of one executable and nothing else."""
        path = f"{at.rstrip('/')}/{name}"
        return Image(image_names, [self.layer(name, {path: executable})], [path], user=user)


def prepare(
    cache: Path,
    progress: Progress,
    say: Callable[[str], None],
    *,
    upgrade: bool,
    clones: Path | None = None,
) -> Ready:
    """Have every image; with those of the version that clusters are upgraded to if ``upgrade``, with
    Knative from ``clones``."""
    maker = Maker(cache, progress, say)
    versions_ = [names.KUBERNETES, names.UPGRADE] if upgrade else [names.KUBERNETES]
    wanted = {name for name in binaries.CATALOGUE if upgrade or not name.endswith(names.UPGRADE)}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        # Debian's mirrors and the compiler do not get in each other's way.
        bases = [
            pool.submit(rootfs.debian, name, packages, cache, say)
            for name, packages in (("node", rootfs.NODE), ("network", rootfs.NETWORK))
        ]
        product = binaries.product(cache.parent, progress)
        built = binaries.build(wanted, cache, progress)
        programs = binaries.programs(cache, say)
        on_node, network = (item.result() for item in bases)
    maker.used += [on_node.tar, network.tar]
    kind = module(binaries.kind_module(), cache)
    archives = []
    for version in versions_:
        preloaded = maker.save(
            f"preloaded-{version}", _preloaded(maker, version, built, programs, network, kind)
        )
        executables = {
            name: built[binaries.kubernetes(name, version)] for name in ("kubeadm", "kubelet", "kubectl")
        }
        executables |= {name: built[name] for name in binaries.CNI}
        image = node.image(version, on_node, kind, executables, preloaded, cache, say)
        archives.append(maker.save(f"node-{version}", [image]))
        maker.used += [item.tar for item in image.layers]
    archives.append(maker.save("haproxy", [_haproxy(maker, network)]))
    # The Docker provider opens the engine's socket, the others run as nobody, as upstream's images do.
    managers = [
        maker.single("manager", built[part], name, user="" if part == "capi-docker" else "65532", at="/")
        for part, name in names.MANAGERS.items()
    ]
    archives.append(maker.save("managers", managers))
    archives.append(maker.save("apps", _apps(maker, programs, network, built)))
    if upgrade:
        both = [item for version in versions_ for item in _in_both(maker, version, built, network)]
        archives.append(maker.save(IN_BOTH, both))
    charts = cache / "no-charts"
    if clones is not None:
        serving = knative.build(clones, product["helm"], cache, say)
        archives.append(
            maker.save("knative", knative.images(serving, maker.single, partial(_on, maker, network)))
        )
        charts = serving.charts
    for folder in ("rootfs", "layers", "images"):
        archive.sweep(cache / folder, maker.used)
    return Ready(archives, product["kind"], product["kubectl"], programs["runtime"], charts)


def _on(
    maker: Maker,
    below: Layer,
    name: str,
    executable: Path,
    image_name: str,
    *,
    user: str = "",
    files: Mapping[str, Path] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Image:
    """An image of one executable, and ``files`` of its own, on a root file system."""
    path = f"{_BIN}/{name}"
    layer = maker.layer(name, {path: executable, **(files or {})})
    return Image([image_name], [below, layer], [path], environment or {}, user)


def module(source: Source, cache: Path) -> Path:
    """The folder of a module, which is fetched if it is not here."""
    command = ["go", "mod", "download", "-json", source.module]
    folder = archive.clear(cache / "module")
    for name, text in source.graph.texts().items():
        (folder / name).write_text(text)
    answer = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Path(json.loads(answer)["Dir"])


def _preloaded(
    maker: Maker,
    version: str,
    built: Mapping[str, Path],
    programs: Mapping[str, Path],
    network: Layer,
    kind: Path,
) -> list[Image]:
    """What kubeadm and kind's manifests start on a node."""
    registry = names.REGISTRY
    images = [
        maker.single(name, built[binaries.kubernetes(name, version)], f"{registry}/{name}:{version}")
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    ]
    kindnetd = maker.layer("kindnetd", {f"{_BIN}/kindnetd": programs["kindnetd"]})
    provisioner = maker.layer(
        "local-path", {f"{_BIN}/local-path-provisioner": built["local-path-provisioner"]}
    )
    kinds = node.kind_images(kind)
    proxy, coredns = _in_both(maker, version, built, network)
    return [
        *images,
        proxy,
        maker.single("etcd", built["etcd"], f"{registry}/etcd:{names.ETCD[version]}"),
        coredns,
        maker.single("pause", programs["pause"], f"{registry}/pause:{names.PAUSE}"),
        Image([kinds["kindnetd"]], [network, kindnetd], [f"{_BIN}/kindnetd"]),
        Image([kinds["provisioner"]], [network, provisioner], [f"{_BIN}/local-path-provisioner"]),
        Image([kinds["helper"]], [network], ["/bin/sh"]),
    ]


def _in_both(maker: Maker, version: str, built: Mapping[str, Path], network: Layer) -> list[Image]:
    proxy, coredns = names.on_any_node(version)
    layer = maker.layer(
        "kube-proxy", {f"{_BIN}/kube-proxy": built[binaries.kubernetes("kube-proxy", version)]}
    )
    return [
        Image([proxy], [network, layer], [f"{_BIN}/kube-proxy"]),
        maker.single("coredns", built["coredns"], coredns),
    ]


def _haproxy(maker: Maker, network: Layer) -> Image:
    files: dict[str, Path | str] = {
        f"{_BIN}/haproxy": _HAPROXY,
        "/usr/local/etc/haproxy-limits.cfg": _HAPROXY_LIMITS,
        "/usr/local/etc/haproxy/haproxy.cfg": _HAPROXY_START,
    }
    started = ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
    return Image([names.HAPROXY], [network, maker.layer("haproxy", files)], started, stop_signal="SIGUSR1")


def _apps(
    maker: Maker, programs: Mapping[str, Path], network: Layer, built: Mapping[str, Path]
) -> list[Image]:
    """Stand-ins under the names of the bundles' images, and local-path-storage's own two."""
    links = {f"{_BIN}/ollama": "standin", "/bin/sh": f"{_BIN}/busybox"}
    standin = maker.layer("standin", {f"{_BIN}/standin": programs["standin"]}, links)
    shell = maker.layer("busybox", {f"{_BIN}/busybox": rootfs.busybox(network)})
    images = []
    for bundle, port in STANDINS.items():
        images.append(Image([app(bundle)], [shell, standin], [f"{_BIN}/standin"], {"PORT": port}))
    tools = {f"/bin/{name}": f"{_BIN}/busybox" for name in ("sh", "mkdir", "rm", "chmod")}
    provisioner = "local-path-provisioner"
    return [
        *images,
        maker.single(provisioner, built[provisioner], app("local-path-storage")),
        Image(
            [app("local-path-storage", "helperImage")],
            [shell, maker.layer("tools", {}, tools)],
            ["/bin/sh"],
        ),
    ]


def app(bundle: str, key: str = "image") -> str:
    """The name of a bundle's image."""
    text = (resources.files("capi_llm.bundles") / bundle / "values.yaml").read_text()
    image = yaml.safe_load(text)[key]
    return f"{image['repository']}:{image['tag']}".removeprefix("docker.io/").removeprefix("library/")


APPS = (
    *((bundle, "image") for bundle in STANDINS),
    ("local-path-storage", "image"),
    ("local-path-storage", "helperImage"),
)
"""The images of apps, by bundle and key of its values."""
