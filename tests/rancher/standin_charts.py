"""Stand-ins for the charts of a management plane, and a repository on loopback that serves them.

They have the names, versions, workloads and the part of the values and their schema that matter here of
the real ones, and nothing else: images are never run, as KWOK only says that they do.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from file_server import FileServer

IMAGE = "registry.example/{name}:{version}"


class Repository(FileServer):
    """A chart repository at ``http://127.0.0.1``, of the files in ``folder``; counts what is asked for."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder)
        self._entries: dict[str, list[dict[str, Any]]] = {}

    def publish(
        self,
        name: str,
        version: str,
        templates: Mapping[str, str],
        *,
        values: Mapping[str, Any] | None = None,
        schema: Mapping[str, Any] | None = None,
        kube: str = "",
    ) -> None:
        """Add a chart of ``templates`` (file → text), and write the index anew."""
        head: dict[str, Any] = {
            "apiVersion": "v2",
            "name": name,
            "version": version,
            "appVersion": "v" + version.removeprefix("v"),
        }
        if kube:
            head["kubeVersion"] = kube
        files = {
            "Chart.yaml": yaml.safe_dump(head),
            "values.yaml": yaml.safe_dump(dict(values or {})),
            **{f"templates/{file}": text for file, text in templates.items()},
        }
        if schema:
            files["values.schema.json"] = json.dumps(schema)
        archive = f"{name}-{version}.tgz"
        with tarfile.open(self.folder / archive, "w:gz") as tar:
            for file, text in files.items():
                entry = tarfile.TarInfo(f"{name}/{file}")
                entry.size = len(text.encode())
                tar.addfile(entry, io.BytesIO(text.encode()))
        self._entries.setdefault(name, []).append(head | {"urls": [archive]})
        index = {"apiVersion": "v1", "entries": self._entries, "generated": "2026-01-01T00:00:00Z"}
        (self.folder / "index.yaml").write_text(yaml.safe_dump(index))


def deployment(name: str, image: str, *, namespace: str = "", labels: str = "", more: str = "") -> str:
    """A Deployment of one pod."""
    where = f"\n  namespace: {namespace}" if namespace else ""
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}{where}
  labels: {{app: {name}{labels}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - {{name: main, image: "{image}"{more}}}
---
"""


def crd(group: str, plural: str, kind: str, *, version: str = "v1", scope: str = "Namespaced") -> str:
    """A CustomResourceDefinition that takes anything."""
    return f"""\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: {plural}.{group}
spec:
  group: {group}
  scope: {scope}
  names: {{plural: {plural}, kind: {kind}, listKind: {kind}List}}
  versions:
  - name: {version}
    served: true
    storage: true
    subresources: {{status: {{}}}}
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
---
"""


def publish_all(repository: Repository) -> None:
    """The charts of the recipe, in the versions that it pins."""
    from capi_llm import compatibility, versions

    publish_cert_manager(repository, versions.CERT_MANAGER)
    for row in compatibility.ROWS:
        publish_rancher(repository, row.rancher.removeprefix("v"))
    publish_ngrok(repository, versions.NGROK_OPERATOR)
    publish_fleet(repository, versions.FLEET.removeprefix("v"))


def publish_cert_manager(repository: Repository, version: str) -> None:
    group = "cert-manager.io"
    crds = crd(group, "certificates", "Certificate") + crd(group, "issuers", "Issuer")
    repository.publish(
        "cert-manager",
        version,
        {
            "crds.yaml": "{{ if .Values.crds.enabled }}\n" + crds + "{{ end }}\n",
            "main.yaml": "".join(
                deployment(name, f"quay.io/jetstack/{name}:{version}")
                for name in ("cert-manager", "cert-manager-cainjector", "cert-manager-webhook")
            ),
        },
        values={"crds": {"enabled": False, "keep": True}},
        schema={
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "crds": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"enabled": {"type": "boolean"}, "keep": {"type": "boolean"}},
                },
                "global": {},
            },
        },
    )


_RANCHER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: rancher, labels: {app: rancher}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: rancher}}
  template:
    metadata: {labels: {app: rancher}}
    spec:
      containers:
      - name: rancher
        image: "rancher/rancher:v{{ .Chart.Version }}"
        args:
        {{- if .Values.privateCA }}
        {{- else if and (eq .Values.tls "ingress") (eq .Values.ingress.tls.source "rancher") }}
        {{- else }}
        - --no-cacerts
        {{- end }}
        - --http-listen-port=80
        env:
        - {name: CATTLE_AGENT_TLS_MODE, value: {{ .Values.agentTLSMode | quote }}}
        {{- if .Values.bootstrapPassword }}
        - {name: CATTLE_BOOTSTRAP_PASSWORD, value: set}
        {{- end }}
        startupProbe:
          httpGet: {path: /healthz, port: 80}
          failureThreshold: {{ .Values.startupProbe.failureThreshold }}
        {{- if .Values.privateCA }}
        volumeMounts:
        - {name: tls-ca-volume, mountPath: /etc/rancher/ssl/cacerts.pem, subPath: cacerts.pem}
      volumes:
      - {name: tls-ca-volume, secret: {secretName: tls-ca}}
        {{- end }}
---
apiVersion: v1
kind: Service
metadata:
  name: rancher
  annotations: {{ toJson (default (dict) .Values.service.annotations) }}
spec:
  selector: {app: rancher}
  ports:
  - {name: http, port: 80, targetPort: 80}
  - {name: https-internal, port: 443, targetPort: 444}
{{- if .Values.ingress.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: rancher}
spec:
  {{- if .Values.ingress.ingressClassName }}
  ingressClassName: {{ .Values.ingress.ingressClassName }}
  {{- end }}
  rules:
  - host: {{ .Values.hostname }}
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {service: {name: rancher, port: {number: 80}}}
{{- end }}
{{- if and (eq .Values.tls "ingress") (eq .Values.ingress.tls.source "rancher") }}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: rancher}
spec: {ca: {secretName: tls-rancher}}
{{- end }}
"""

_PASSWORD = """\
{{- $password := .Values.bootstrapPassword -}}
{{- $existing := lookup "v1" "Secret" .Release.Namespace "bootstrap-secret" -}}
{{- if $existing }}{{ $password = $existing.data.bootstrapPassword | b64dec }}{{ end -}}
{{- if $password }}
apiVersion: v1
kind: Secret
metadata:
  name: bootstrap-secret
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-weight: "-5"
    helm.sh/resource-policy: keep
data:
  bootstrapPassword: {{ $password | b64enc | quote }}
{{- end }}
"""
"""As in the real chart (chart/templates/secret.yaml at v2.13.8): what is there is made anew by the hook."""


def publish_rancher(repository: Repository, version: str, *, kube: str = "< 1.35.0-0") -> None:
    repository.publish(
        "rancher",
        version,
        {"main.yaml": _RANCHER, "secret.yaml": _PASSWORD},
        kube=kube,
        values={
            "replicas": 3,
            "hostname": "",
            "tls": "ingress",
            "privateCA": False,
            "agentTLSMode": "",
            "bootstrapPassword": "",
            "ingress": {"enabled": True, "ingressClassName": "", "tls": {"source": "rancher"}},
            "service": {"annotations": {}},
            "startupProbe": {"failureThreshold": 12},
        },
        schema={
            "type": "object",
            "properties": {
                "agentTLSMode": {"type": ["string", "null"], "enum": ["strict", "system-store", "", None]},
                "tls": {"type": "string", "enum": ["ingress", "external"]},
            },
        },
    )


def publish_ngrok(repository: Repository, version: str) -> None:
    repository.publish(
        "ngrok-operator",
        version,
        {
            "main.yaml": "".join(
                deployment(
                    f"ngrok-operator-{part}",
                    f"docker.io/ngrok/ngrok-operator:{version}",
                    more=', args: ["--default-domain-reclaim-policy='
                    '{{ .Values.defaultDomainReclaimPolicy }}"]'
                    ', envFrom: [{secretRef: {name: "{{ .Values.credentials.secret.name }}"}}]',
                )
                for part in ("manager", "agent")
            ),
            "class.yaml": "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: ngrok}\n"
            "spec: {controller: k8s.ngrok.com/ingress-controller}\n",
        },
        values={
            "credentials": {"secret": {"name": ""}, "apiKey": "", "authtoken": ""},
            "defaultDomainReclaimPolicy": "Delete",
            "drainPolicy": "Retain",
            "cleanupHook": {"enabled": True},
            "gateway": {"enabled": True},
        },
    )


def publish_fleet(repository: Repository, version: str) -> None:
    group = "fleet.cattle.io"
    repository.publish(
        "fleet-crd",
        version,
        {
            "crds.yaml": crd(group, "bundles", "Bundle", version="v1alpha1")
            + crd(group, "clusters", "Cluster", version="v1alpha1")
        },
    )
    repository.publish(
        "fleet",
        version,
        {
            "main.yaml": deployment("fleet-controller", f"rancher/fleet:v{version}"),
            "config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fleet-controller}\n"
            'data: {config: {{ toJson (dict "apiServerURL" .Values.apiServerURL '
            '"apiServerCA" (b64enc .Values.apiServerCA)) | quote }}}\n',
        },
        values={
            "apiServerURL": "",
            "apiServerCA": "",
            "bootstrap": {"enabled": True},
            "gitops": {"enabled": True},
        },
    )
