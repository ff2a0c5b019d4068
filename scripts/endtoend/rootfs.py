"""Debian root file systems by mmdebstrap, as tar files."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from endtoend.archive import Layer

SUITE = "bookworm"
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")

NODE = (
    # As kind's node image (https://github.com/kubernetes-sigs/kind/blob/v0.30.0/images/base/Dockerfile),
    # with Debian's own containerd and runc; without file systems that no test mounts.
    *("systemd", "dbus", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount"),
    *("kmod", "libseccomp2", "bash", "ca-certificates", "curl", "jq", "procps", "containerd", "runc"),
)
NETWORK = (
    *("bash", "iptables", "nftables", "iproute2", "conntrack", "kmod", "haproxy", "procps"),
    "busybox-static",
)
"""Beneath the images that call such tools: kube-proxy, the load balancer, the network daemon."""


def busybox(rootfs: Layer) -> Path:
    """The one program that is a whole small system, out of a root file system."""
    program = rootfs.tar.with_suffix(".busybox")
    if not program.is_file():
        with tarfile.open(rootfs.tar) as tar:
            found = next(item for item in tar if item.name.endswith("/bin/busybox"))
            file = tar.extractfile(found)
            assert file is not None
            program.write_bytes(file.read())
    return program


def debian(name: str, packages: Sequence[str], cache: Path, say: Callable[[str], None]) -> Layer:
    """A root file system with ``packages`` and what they need; made once, named by its recipe."""
    recipe = json.dumps([SUITE, sorted(packages), _LEFT_OUT])
    key = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    tar = cache / "rootfs" / f"{name}-{key}.tar"
    if not tar.is_file():
        say(f"making a Debian root file system for {name}: {len(packages)} packages and what they need")
        tar.parent.mkdir(parents=True, exist_ok=True)
        new = tar.with_suffix(".new")
        command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=essential", "--format=tar"]
        command += [f"--include={','.join(packages)}", '--aptopt=Apt::Install-Recommends "false"']
        command += [f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT]
        subprocess.run([*command, SUITE, str(new)], check=True)
        new.rename(tar)
    return Layer(tar)
