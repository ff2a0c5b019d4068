"""Values for each chart of ours that say every setting at least once with another value than its default.

``tests/bundles/test_charts.py`` computes from the schemas that nothing is left out; every set is
rendered and goes through a real API server in ``tests/bundles/test_dry_run.py``.
"""

from __future__ import annotations

from typing import Any

DIGEST = "sha256:" + "0123456789abcdef" * 4
IMAGE = {"repository": "registry.local/mirror/app", "tag": "", "digest": DIGEST, "pullPolicy": "Always"}
NAMESPACE = "the-namespace-of-the-test"
ANYWHERE: dict[str, Any] = {
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "llm", "effect": "NoSchedule"}],
}
POD: dict[str, Any] = {
    "affinity": {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname"}}
            ]
        }
    },
    "priorityClassName": "system-cluster-critical",
    "podAnnotations": {"team.example/owner": "ml"},
    "podLabels": {"team": "ml"},
    "podDisruptionBudget": False,
}
RESOURCES = {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": 4, "memory": "3Gi"}}
FLEET = {"global": {"fleet": {"clusterLabels": {"env": "llm"}}}}
"""What Fleet writes into the values of every bundle."""

_EVERYWHERE: dict[str, Any] = {
    "image": IMAGE,
    "imagePullSecrets": ["pull"],
    "resources": RESOURCES,
} | ANYWHERE
_STORAGE = {
    "size": "100Gi", "accessMode": "ReadWriteMany", "storageClass": "longhorn", "existingClaim": "",
}  # fmt: skip
_NO_STORAGE = {"enabled": False}
_OWN_CLAIM = {"accessMode": "ReadWriteOncePod", "existingClaim": "mine"}

_OLLAMA: dict[str, Any] = {
    **_EVERYWHERE,
    **POD,
    "scale": {"min": 0, "max": 8, "metric": "rps", "target": 2.5, "window": "90s", "downDelay": "15m"},
    "containerConcurrency": 4,
    "timeoutSeconds": 3600,
    "progressDeadlineSeconds": 3600,
    "server": {
        "keepAlive": "-1", "loadTimeout": "20m", "parallel": 4, "maxLoadedModels": 2, "maxQueue": 1000000,
        "contextLength": 1048576,
    },
    "env": {"OLLAMA_DEBUG": "1"},
    "gpus": 2,
    "storage": _STORAGE,
    "runtimeClassName": "nvidia",
    "networkPolicy": {"fromNamespaces": ["kserve"], "internet": False},
}  # fmt: skip

_SERVERS: list[dict[str, Any]] = [
    {"name": "chat", "model": "Qwen/Qwen2.5-0.5B-Instruct"},
    {
        "name": "chat-canary", "model": "meta-llama/Llama-3.1-8B-Instruct", "servedName": "llama", "gpus": 2,
        "contextLength": 1048576, "memoryFraction": 0.45, "runtimeClassName": "nvidia", "storageSize": "80Gi",
        "args": ["--seed=7"],
    },
]  # fmt: skip
_SERVER: dict[str, Any] = {
    **_EVERYWHERE,
    **{word: POD[word] for word in ("affinity", "priorityClassName", "podAnnotations", "podLabels")},
    "models": _SERVERS,
    "huggingFaceToken": {"secretName": "hugging-face", "key": "hf"},
    "env": {"HF_HUB_OFFLINE": "1"},
    "sharedMemory": "8Gi",
    "startupSeconds": 7200,
    "storage": {"size": "100Gi", "accessMode": "ReadWriteMany", "storageClass": "longhorn"},
    "networkPolicy": {"fromNamespaces": ["kserve"], "internet": False},
}
_STORE: dict[str, Any] = {
    **{word: POD[word] for word in ("priorityClassName", "podAnnotations", "podLabels")},
    "secret": {"name": "mine", "key": "word"},
}

SETS: dict[str, list[dict[str, Any]]] = {
    "ollama": [
        {},
        FLEET,
        {"serving": "deployment"},
        _OLLAMA | {"serving": "knative"},
        _OLLAMA | {"serving": "deployment"},
        {"storage": _NO_STORAGE, "networkPolicy": {"enabled": False}, "image": {"pullPolicy": "Never"}},
        {"storage": _OWN_CLAIM, "networkPolicy": {"fromNamespaces": []}, "serving": "deployment"},
    ],
    "ollama-startup-config": [
        {},
        FLEET,
        {"serving": "deployment", "networkPolicy": {"enabled": False}, "image": {"pullPolicy": "Never"}},
        {
            **_EVERYWHERE,
            "models": ["llama3.2:3b", "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M"],
            "url": "http://ollama.other.svc.cluster.local:11434",
            "schedule": "*/30 * * * *",
            "retries": 0,
            "deadlineSeconds": 86400,
            "networkPolicy": {"ollamaNamespaces": ["other"]},
        },
        {"schedule": "@hourly", "networkPolicy": {"ollamaNamespaces": []}},
    ],
    "vllm": [
        {"models": [{"name": "chat", "model": "Qwen/Qwen2.5-0.5B-Instruct"}]},
        {"models": _SERVERS} | FLEET,
        _SERVER,
        {
            "models": _SERVERS,
            "storage": {"enabled": False, "accessMode": "ReadWriteOncePod"},
            "networkPolicy": {"enabled": False},
            "image": {"pullPolicy": "Never"},
        },
    ],
    "sglang": [
        {"models": [{"name": "chat", "model": "Qwen/Qwen2.5-0.5B-Instruct"}]},
        {"models": _SERVERS} | FLEET,
        _SERVER,
        {
            "models": _SERVERS,
            "storage": {"enabled": False, "accessMode": "ReadWriteOncePod"},
            "networkPolicy": {"enabled": False},
            "image": {"pullPolicy": "Never"},
        },
    ],
    "redis": [
        {},
        FLEET,
        {**_EVERYWHERE, **_STORE, "maxMemory": "1gb"},
        {"networkPolicy": {"enabled": False}, "image": {"pullPolicy": "Never"}},
    ],
    "postgresql": [
        {},
        FLEET,
        {
            **_EVERYWHERE,
            **_STORE,
            "connections": 500,
            "storage": {"size": "20Gi", "storageClass": "longhorn"},
        },
        {
            "networkPolicy": {"enabled": False},
            "storage": _NO_STORAGE,
            "image": {"pullPolicy": "Never"},
        },
    ],
    "litellm": [
        {},
        FLEET,
        {"autoscaling": {"enabled": True, "min": 2, "max": 9, "cpuPercent": 50}},
        {
            **_EVERYWHERE,
            **POD,
            "replicas": 3,
            "masterKey": {"secretName": "gateway", "key": "key"},
            "providerKeys": {"secretName": "providers"},
            "keys": [{"variable": "KEY_LOCAL", "secretName": "local", "key": "api-key"}],
            "redis": {"enabled": True, "secretName": "cache", "key": "word"},
            "database": {
                "enabled": True, "host": "db.example", "port": 6432, "name": "gateway", "user": "gateway",
                "secretName": "db", "key": "word", "saltSecret": "salt", "saltKey": "salt",
            },
            "drainSeconds": 0,
            "config": {"configMap": "my-config"},
            "configHash": "8c2d573b",
            "env": {"LITELLM_LOG": "DEBUG"},
            "networkPolicy": {
                "fromNamespaces": ["traefik"], "ollamaNamespaces": ["models"], "internet": False,
                "backendPorts": [8000, 30000],
            },
        },
        {"networkPolicy": {"enabled": False}, "image": {"pullPolicy": "Never"}},
        {"networkPolicy": {"fromNamespaces": [], "ollamaNamespaces": []}},
    ],
    "litellm-config": [
        {},
        FLEET,
        {"serving": "deployment", "openai": {"enabled": True, "model": "gpt-4o-mini"}},
        {
            "ollamaUrl": "http://ollama.other.svc.cluster.local:11434",
            "models": [
                {
                    "model_name": "llama",
                    "litellm_params": {
                        "model": "ollama_chat/llama3.2", "weight": 9, "rpm": 60, "tpm": 100000,
                    },
                    "model_info": {"mode": "chat"},
                },
                {
                    "model_name": "llama",
                    "litellm_params": {
                        "model": "hosted_vllm/llama", "api_base": "http://vllm-llama:8000/v1", "weight": 1,
                        "api_key": "os.environ/VLLM_API_KEY", "timeout": 60, "stream_timeout": 5.5,
                        "extra_headers": {"x-team": "ml"},
                    },
                },
            ],
            "routing": {
                "strategy": "least-busy", "retries": 0, "timeoutSeconds": 30, "allowedFails": 1,
                "cooldownSeconds": 5, "aliases": {"gpt-4": "llama"}, "fallbacks": [{"llama": ["tiny"]}],
                "limits": True, "contextChecks": True,
            },
            "redis": {"enabled": True, "host": "redis.example", "port": 6380},
            "requestTimeoutSeconds": 120,
            "dropParams": False,
            "jsonLogs": False,
        },
        {"routing": {"strategy": "latency-based-routing"}, "models": []},
        {"routing": {"strategy": "usage-based-routing-v2"}},
        {"routing": {"strategy": "cost-based-routing"}},
    ],
    "openwebui": [
        {},
        FLEET,
        {
            **_EVERYWHERE,
            **POD,
            "openaiUrl": "https://gateway.example/v1",
            "secret": {"name": "keys", "webuiKey": "session", "openaiKey": "api"},
            "admin": {"secretName": "admin"},
            "name": "Team's chat",
            "url": "https://chat.example",
            "auth": False,
            "signup": False,
            "defaultRole": "user",
            "requestTimeoutSeconds": 1200,
            "embedding": {"engine": "ollama", "model": "nomic-embed-text"},
            "env": {"ENABLE_WEB_SEARCH": "True"},
            "storage": _STORAGE,
            "readOnlyRootFilesystem": False,
            "ingress": {
                "enabled": True, "className": "nginx", "host": "chat.example", "tlsSecret": "chat-tls",
                "annotations": {"cert-manager.io/cluster-issuer": "letsencrypt"},
            },
            "networkPolicy": {"fromNamespaces": ["traefik"], "internet": True},
        },
        {"storage": _NO_STORAGE, "networkPolicy": {"enabled": False}, "image": {"pullPolicy": "Never"}},
        {"storage": _OWN_CLAIM, "defaultRole": "admin", "embedding": {"engine": ""}},
        {"ingress": {"enabled": True, "host": "chat.example"}, "networkPolicy": {"fromNamespaces": []}},
    ],
    "local-path-storage": [
        {},
        FLEET,
        {
            **_EVERYWHERE,
            "helperImage": {"repository": "registry.local/busybox", "tag": "1", "digest": DIGEST},
            "paths": ["/data/volumes", "/mnt/more"],
            "storageClass": {"name": "local", "default": False, "reclaimPolicy": "Retain"},
        },
        {"image": {"pullPolicy": "Never"}},
    ],
    "kourier": [
        {},
        FLEET,
        {
            "version": "1.20.1",
            "highAvailability": 2,
            "service": {"type": "NodePort", "httpPort": 30080, "httpsPort": 30443},
            "domain": "127.0.0.1.sslip.io",
            "skipTagResolving": ["registry.local"],
            "maxTimeoutSeconds": 7200,
            "progressDeadline": "1h",
            "scaleToZero": False,
            "scaleToZeroGracePeriod": "2m",
            "registry": "registry.local/knative",
            "imagePullSecrets": ["pull"],
        },
        {"service": {"type": "LoadBalancer", "loadBalancerIP": "192.0.2.7"}},
    ],
    "cluster-autoscaler": [
        {"clusterName": "demo"},
        {"clusterName": "demo"} | FLEET,
        {
            **_EVERYWHERE,
            "clusterName": "demo",
            "clusterNamespace": NAMESPACE,
            "architecture": "arm64",
            "expander": "priority",
            "balanceSimilarPools": False,
            "scanInterval": "30s",
            "maxNodeProvisionTime": "1h",
            "scaleDown": {
                "enabled": False, "unneededTime": "1m", "delayAfterAdd": "1m", "utilizationThreshold": 0.25,
            },
            "args": {"v": 4, "skip-nodes-with-local-storage": False},
            "podDisruptionBudget": False,
        },
        *(
            {"clusterName": "demo", "expander": expander, "image": {"pullPolicy": "Never"}}
            for expander in ("most-pods", "random", "price", "least-nodes")
        ),
    ],
}  # fmt: skip
"""By chart."""
