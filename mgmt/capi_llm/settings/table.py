"""The one table of settings: loading, checks, variables, JSON Schema, ``config`` and docs follow it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from capi_llm import versions
from capi_llm.settings import kinds
from capi_llm.settings.kinds import Kind
from capi_llm.settings.words import CLUSTER

FILE = "capi-llm.yaml"
"""Looked for in the current folder where nothing names another."""

DOTENV = ".env"
KIND = "Settings"
"""``kind`` of the file; it may be left out."""

CONFIG = "CAPI_LLM_CONFIG"
"""Variable that names the file."""

PREFIX = "CAPI_LLM_"
PARTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "kwok",
    "helm",
    "clusterctl",
    "capi-core",
    "capi-bootstrap",
    "capi-control-plane",
    "capi-docker",
    "capi-components",
    "kind",
)
"""The parts that a path may be given for; those of ``tools.catalogue.CATALOGUE``."""


@dataclass(frozen=True)
class Setting:
    """One setting. ``path`` is where it is in the file; ``default`` is what the file would say."""

    path: str
    kind: Kind
    help: str
    default: Any = None
    variable: str = ""
    without: str = ""
    """What holds where nobody says it, for people, where ``default`` can not tell."""

    @property
    def secret(self) -> bool:
        """Whether it is masked everywhere and refused in the file, which belongs into git."""
        return self.kind in (kinds.SECRET, kinds.API_KEY)


def _variable(path: str) -> str:
    return PREFIX + re.sub(r"([A-Z])|[.-]", lambda m: f"_{m[1] or ''}", path).upper()


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "plane.name", kinds.NAME, "management plane that commands act on", None, "CAPI_LLM_PLANE",
        "`planes use`, or the only one there is",
    ),
    Setting(
        "plane.kind", kinds.PLANE_KIND, "kind of plane that bootstrap makes", None, "CAPI_LLM_PLANE_KIND",
        "`kind` where Docker answers, else `sandbox`",
    ),
    Setting(
        "folders.state", kinds.FOLDER, "state folder: planes, sandboxes, locks", None, "CAPI_LLM_STATE",
        "`$XDG_STATE_HOME/capi-llm`, else `~/.local/state/capi-llm`",
    ),
    Setting(
        "folders.cache", kinds.FOLDER, "cache folder: executables", None, "CAPI_LLM_CACHE",
        "`$XDG_CACHE_HOME/capi-llm`, else `~/.cache/capi-llm`",
    ),
    Setting(
        "folders.kubeconfigs", kinds.FOLDER, "folder for saved kubeconfigs", None, "CAPI_LLM_KUBECONFIGS",
        "`./kubeconfigs`",
    ),
    Setting(
        "parts.dir", kinds.FOLDER, "folder with executables of your own for the sandbox", None,
        "CAPI_LLM_PARTS_DIR", "none",
    ),
    Setting(
        "parts.offline", kinds.SWITCH, "never use the network for the sandbox's executables", False,
        "CAPI_LLM_OFFLINE",
    ),
    *(
        Setting(
            f"parts.executables.{name}", kinds.FILE, f"path of {name}", None,
            f"CAPI_LLM_PART_{name.upper().replace('-', '_')}", "none",
        )
        for name in PARTS
    ),
    Setting(
        "host.networks", kinds.NETWORKS, "networks that pods and Services keep away from; `none` for none",
        None, "CAPI_LLM_HOST_NETWORKS", "those of this machine's interfaces, Docker's bridges among them",
    ),
    *(
        Setting(
            f"cluster.{word.word}", word.kind, f"default of new-cluster: {word.help}", word.default,
            "" if word.kind in (kinds.LABELS, kinds.VARIABLES) else _variable(f"cluster.{word.word}"),
            {"class": "`kwok-llm-clusterclass` on a sandbox"}.get(word.word, "none"),
        )
        for word in CLUSTER
    ),
    Setting(
        "apps.wanted", kinds.NAMES, "apps of new clusters; `none` for none", None, "CAPI_LLM_APPS",
        "all that fit the plane",
    ),
    Setting(
        "apps.values", kinds.MAPS, "values of apps, by app; see `apps`", None, "", "those of the bundles"
    ),
    Setting(
        "apps.bundleDir", kinds.FOLDER, "folder with bundles of your own, in place of the shipped ones", None,
        "CAPI_LLM_BUNDLE_DIR", "the shipped ones",
    ),
    Setting(
        "apps.delivery", kinds.DELIVERY, "how apps come to clusters", None, "CAPI_LLM_DELIVERY",
        "as the cluster has it, else `direct`",
    ),
    Setting(
        "apps.openaiApiKey", kinds.API_KEY, "what LiteLLM shows to OpenAI, a secret", None, "OPENAI_API_KEY",
        "none",
    ),
    Setting(
        "apps.deepseekApiKey", kinds.API_KEY, "what LiteLLM shows to DeepSeek, a secret", None,
        "DEEPSEEK_API_KEY", "none",
    ),
    Setting(
        "gateway.key", kinds.SECRET, "key that `smoke --url` and `chat --url` show to the gateway, a secret",
        None, "CAPI_LLM_GATEWAY_KEY", "none",
    ),
    Setting(
        "models", kinds.MODELS, "models and where they are served; see `models`", None, "",
        "`ollama/tinyllama`, and those of providers whose key is there",
    ),
    Setting(
        "gateway.clientKeys", kinds.SWITCH, "whether clients have keys of their own; brings PostgreSQL",
        False, "CAPI_LLM_GATEWAY_CLIENT_KEYS",
    ),
    Setting(
        "gateway.sharedLimits", kinds.SWITCH, "whether LiteLLM's pods count limits together; brings Redis",
        False, "CAPI_LLM_GATEWAY_SHARED_LIMITS",
    ),
    Setting(
        "management.name", kinds.NAME, "name of a kind plane's cluster, never of a workload cluster", None,
        "CLUSTER_NAME", "`llm-rancher` for plane `kind`, else the plane's name",
    ),
    Setting(
        "management.rancher", kinds.SWITCH, "Rancher on a plane of kind `kind` or `existing`", True,
        _variable("management.rancher"),
    ),
    Setting(
        "management.webhookCerts", kinds.WEBHOOK_CERTS_FROM,
        "who makes the certificates of Cluster API's webhooks, without Rancher", "self",
        _variable("management.webhookCerts"),
    ),
    Setting(
        "management.expose", kinds.EXPOSURE, "how Rancher is reached", None, _variable("management.expose"),
        "`ngrok` with its credentials, else `docker`",
    ),
    Setting(
        "management.kubernetes", kinds.NODE_KUBERNETES, "Kubernetes of a kind plane's node",
        versions.NODE_KUBERNETES, _variable("management.kubernetes"),
    ),
    Setting(
        "management.nodeImage", kinds.IMAGE, "image of a kind plane's node", None,
        _variable("management.nodeImage"), "kind's own for `management.kubernetes`, by digest",
    ),
    Setting(
        "management.images", kinds.IMAGES, "more images that are loaded into a kind plane's node", None,
        _variable("management.images"), "those of what is installed",
    ),
    Setting(
        "management.kubeconfig", kinds.FILE, "kubeconfig of a plane of kind `existing`", None,
        _variable("management.kubeconfig"), "none",
    ),
    Setting(
        "management.context", kinds.CONTEXT, "context in it; has to be said", None,
        _variable("management.context"), "none",
    ),
    Setting(
        "providers", kinds.PROVIDERS,
        "more providers of Cluster API, on a plane of kind `kind` or `existing`", None, "", "none",
    ),
    Setting("rancher.hostname", kinds.HOST, "host name of Rancher", None, "RANCHER_HOSTNAME", "none"),
    Setting(
        "rancher.version", kinds.RANCHER, "version of Rancher, with or without `v`", versions.RANCHER,
        "RANCHER_VERSION",
    ),
    Setting(
        "rancher.bootstrapPassword", kinds.SECRET, "first password of Rancher's user admin, a secret", None,
        "RANCHER_BOOTSTRAP_PASSWORD", "a generated one",
    ),
    Setting(
        "rancher.ingressClass", kinds.NAME, "class of Rancher's Ingress, for `--expose ingress`", None,
        _variable("rancher.ingressClass"), "the cluster's default",
    ),
    Setting(
        "rancher.certificate", kinds.DOMAIN,
        "TLS Secret of a public authority in `cattle-system`, for `--expose ingress`", None,
        _variable("rancher.certificate"), "certificates of Rancher's own authority, by cert-manager",
    ),
    Setting(
        "charts.mirror", kinds.ADDRESS,
        "chart repository in place of the publishers' own, of the plane and of apps", None,
        _variable("charts.mirror"), "the publishers' own",
    ),
    Setting("ngrok.apiKey", kinds.SECRET, "API key of ngrok, a secret", None, "NGROK_API_KEY", "none"),
    Setting(
        "ngrok.authtoken", kinds.SECRET, "token of ngrok's agent, a secret", None, "NGROK_AUTHTOKEN", "none"
    ),
)  # fmt: skip

BY_PATH = {setting.path: setting for setting in SETTINGS}
BY_VARIABLE = {setting.variable: setting for setting in SETTINGS if setting.variable}
XDG = {"folders.state": ("XDG_STATE_HOME", ".local/state"), "folders.cache": ("XDG_CACHE_HOME", ".cache")}
"""Variables of the XDG base directory specification that stand behind a default."""
