"""The node image: Debian, kind's own files of its base image, Kubernetes, and images to start with."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from endtoend import binaries, names
from endtoend.archive import Image, Layer

_RECIPE = 1
"""Raise it when what is made here changes."""

_CRICTL = """#!/bin/sh
# Stands in for cri-tools, which is in no Go module: what Cluster API's Docker provider asks of it.
case "$1" in
  ps) exec ctr --namespace k8s.io tasks list ;;
  *) echo "crictl: only ps is here" >&2; exit 1 ;;
esac
"""

# From kind's Dockerfile of its base image; the seccomp and rlimits lines are its `ctr oci spec` step.
_SETUP = r"""
set -eu
chmod 755 /kind/bin /kind/bin/* /usr/local/bin/*
find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete
rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
  /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/sockets.target.wants/*udev* \
  /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/*
echo ReadKMsg=no >>/etc/systemd/journald.conf
ln -sf /lib/systemd/systemd /sbin/init
systemctl --quiet enable kubelet.service containerd.service undo-mount-hacks.service
systemctl --quiet mask systemd-binfmt.service
mkdir -p /etc/kubernetes/manifests /opt/cni/bin /usr/local/sbin /LICENSES
rm -rf /usr/lib/cni && ln -s /opt/cni/bin /usr/lib/cni
for name in containerd containerd-shim-runc-v2 ctr; do ln -sf /usr/bin/$name /usr/local/bin/$name; done
ctr oci spec | jq '.hooks.createContainer += [{"path": "/kind/bin/mount-product-files.sh"}]' \
  | jq 'del(.process.rlimits)' >/etc/containerd/cri-base.json
rm -rf /var/lib/apt/lists /var/cache/apt /var/log/*.log
"""


def image(
    version: str,
    rootfs: Layer,
    kind: Path,
    executables: Mapping[str, Path],
    preloaded: Path,
    cache: Path,
    say: Callable[[str], None],
) -> Image:
    """The node image of Kubernetes ``version``.

    ``kind``: the folder of kind's module. ``preloaded``: a file of images, imported as kind does it.
    """
    about = [_RECIPE, version, rootfs.digest, str(kind), _SETUP, _CRICTL, Layer(preloaded).digest]
    about += [str(path) for path in executables.values()]
    key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    tar = cache / "layers" / f"node-{version}-{key}.tar"
    if not tar.is_file():
        say(f"making the node image of Kubernetes {version}")
        tar.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="node-", dir=cache) as folder:
            root = Path(folder)
            subprocess.run(["tar", "-x", "-p", "--numeric-owner", "-C", root, "-f", rootfs.tar], check=True)
            _fill(root, version, kind, executables)
            _preload(root, preloaded)
            new = tar.with_suffix(".new")
            subprocess.run(
                ["tar", "-c", "--numeric-owner", "--sort=name", "-C", root, "-f", new, "."], check=True
            )
            new.rename(tar)
    return Image(
        names=[names.node(version)],
        layers=[Layer(tar)],
        entrypoint=["/usr/local/bin/entrypoint", "/sbin/init"],
        environment={"container": "docker"},
        # What ends systemd (https://bugzilla.redhat.com/show_bug.cgi?id=1201657).
        stop_signal="SIGRTMIN+3",
    )


def kind_images(kind: Path) -> dict[str, str]:
    """The images that kind's node image starts with beside Kubernetes' own: what each is, and its name."""
    text = _sources(kind)
    wanted = {
        "kindnetd": "kindnetdImage",
        "provisioner": "storageProvisionerImage",
        "helper": "storageHelperImage",
    }
    return {what: _constant(text, name).removeprefix("docker.io/") for what, name in wanted.items()}


def _sources(kind: Path) -> str:
    folder = kind / "pkg/build/nodeimage"
    return "".join((folder / name).read_text() for name in ("const_cni.go", "const_storage.go"))


def _constant(text: str, name: str) -> str:
    found = re.search(rf'const {name} = "([^"]+)"', text)
    assert found, f"kind's sources have no {name}"
    return found[1]


def _manifest(text: str, name: str) -> str:
    """A manifest that kind has as Go constant: raw strings, joined with names of images."""
    found = re.search(rf"const {name} = (`.*?`(?: \+ \w+ \+ `.*?`)*)\n", text, re.DOTALL)
    assert found, f"kind's sources have no {name}"
    pieces = re.split(r"`(.*?)`", found[1], flags=re.DOTALL)
    return "".join(
        piece if number % 2 else "".join(_constant(text, word) for word in re.findall(r"\w+", piece))
        for number, piece in enumerate(pieces)
    )


def _fill(root: Path, version: str, kind: Path, executables: Mapping[str, Path]) -> None:
    shutil.copytree(
        kind / "images/base/files", root, dirs_exist_ok=True, copy_function=shutil.copyfile, symlinks=True
    )
    # Modules are read-only, and so are copies of their folders.
    for path in (kind / "images/base/files").rglob("*"):
        own = root / path.relative_to(kind / "images/base/files")
        own.chmod(0o755 if path.is_dir() else 0o644)
    for name, path in executables.items():
        to = root / ("opt/cni/bin" if name in binaries.CNI else "usr/bin") / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
        to.chmod(0o755)
    crictl = root / "usr/local/bin/crictl"
    crictl.write_text(_CRICTL)
    config = root / "etc/containerd/config.toml"
    text = config.read_text()
    # Lowering a process's score needs CAP_SYS_RESOURCE, which not every root has.
    assert "restrict_oom_score_adj = false" in text
    config.write_text(text.replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true"))
    sources = _sources(kind)
    (root / "kind/manifests").mkdir()
    (root / "kind/manifests/default-cni.yaml").write_text(_manifest(sources, "defaultCNIManifest"))
    (root / "kind/manifests/default-storage.yaml").write_text(_manifest(sources, "defaultStorageManifest"))
    (root / "kind/version").write_text(version)
    subprocess.run(["chroot", root, "/bin/sh", "-c", _SETUP], check=True, stdout=subprocess.DEVNULL)


def _preload(root: Path, images: Path) -> None:
    """Import ``images`` into the image's containerd store, not unpacked, as kind's own build does."""
    with tempfile.TemporaryDirectory(prefix="preload-") as folder:
        address = f"{folder}/c.sock"
        config = Path(folder) / "config.toml"
        config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        command: list[str | Path] = ["containerd", "--config", config, "--root", root / "var/lib/containerd"]
        command += ["--state", f"{folder}/state", "--address", address, "--log-level", "error"]
        server = subprocess.Popen(command)
        try:
            deadline = time.monotonic() + 30
            while not Path(address).exists() and time.monotonic() < deadline:
                time.sleep(0.1)
            ctr = ["ctr", "--address", address, "--namespace", "k8s.io", "images", "import", "--no-unpack"]
            subprocess.run([*ctr, images], check=True, stdout=subprocess.DEVNULL)
        finally:
            server.terminate()
            server.wait(30)
