#!/usr/bin/env python3
"""For the sequential script: Cluster API's components without cert-manager.

    certificates.py COMPONENTS TO

Fills in clusterctl's variables, names the images, makes an authority and a serving certificate for
each provider's webhook by openssl, and writes the changed files into TO.
"""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from endtoend import names

FILES = {
    "core": "capi-core",
    "bootstrap": "capi-bootstrap",
    "control-plane": "capi-control-plane",
    "docker": "capi-docker",
}


def main() -> None:
    components, folder = map(Path, sys.argv[1:3])
    _openssl(folder, "req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=e2e -keyout ca.key -out ca.crt")
    for file, manager in FILES.items():
        text = (
            (components / f"{file}.yaml")
            .read_text()
            .replace("CLUSTER_TOPOLOGY:=false", "CLUSTER_TOPOLOGY:=true")
        )
        text = re.sub(r"\$\{\w+:=([^}]*)\}", r"\1", text)
        text = re.sub(r"gcr\.io/k8s-staging-cluster-api/[\w-]+:main", names.MANAGERS[manager], text)
        text = text.replace("imagePullPolicy: Always", "imagePullPolicy: IfNotPresent")  # as in the releases
        objects = [item for item in yaml.load_all(text, Loader=yaml.CSafeLoader) if item]
        ((service, namespace),) = {
            (item["metadata"]["name"], item["metadata"]["namespace"])
            for item in objects
            if item["kind"] == "Service"
        }
        (secret,) = {item["spec"]["secretName"] for item in objects if item["kind"] == "Certificate"}
        objects = [item for item in objects if item["kind"] not in ("Certificate", "Issuer")]
        objects.append(_serving(folder, service, namespace, secret))
        for item in objects:
            _trust(item, (folder / "ca.crt").read_bytes())
        (folder / f"{file}.yaml").write_text(yaml.dump_all(objects, Dumper=yaml.CSafeDumper))


def _serving(folder: Path, service: str, namespace: str, secret: str) -> dict[str, object]:
    host = f"{service}.{namespace}.svc"
    (folder / "san").write_text(f"subjectAltName=DNS:{host},DNS:{host}.cluster.local\n")
    _openssl(folder, f"req -newkey rsa:2048 -nodes -subj /CN={service} -keyout tls.key -out tls.csr")
    _openssl(
        folder,
        "x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -extfile san -out tls.crt",
    )
    data = {
        name: base64.b64encode((folder / name).read_bytes()).decode()
        for name in ("ca.crt", "tls.crt", "tls.key")
    }
    metadata = {"name": secret, "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": metadata,
        "data": data,
    }


def _trust(item: dict[str, object], authority: bytes) -> None:
    clients = [webhook["clientConfig"] for webhook in item.get("webhooks", [])]  # type: ignore[attr-defined]
    if item["kind"] == "CustomResourceDefinition":
        clients.append(item["spec"].get("conversion", {}).get("webhook", {}).get("clientConfig", {}))  # type: ignore[attr-defined]
    for client in clients:
        if "service" in client:
            client["caBundle"] = base64.b64encode(authority).decode()


def _openssl(folder: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
