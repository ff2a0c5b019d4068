"""What people type and write: right, nearly right and wrong, for tests of everything that reads it."""

from __future__ import annotations

GOOD = (
    "demo",
    "1..3",
    "10.8.0.0/16",
    "v1.33.0",
    "4Gi",
    "2",
    "1",
    "a=b",
    "cni=calico",
    "gpu=0..2:gpu-worker",
    "90s",
    "json",
    "default",
)
"""Right for some flag."""

WORDS = (
    *GOOD,
    *"""
    My_Cluster -a 3..1 2 -1 0..0 1..99999 99999999999999999999 ١..٣ ٤Gi 4 0Gi 1e3Gi 500m 0.0 1e400 0 1.5 1.10
    10.0.0.0/8 10.0.0.1/8 10.200.4.0/24 172.17.0.0/16 fd00:1::/48 10.96.0.0/24 127.0.0.0/8 0.0.0.0/0
    10.0.0.0/255.0.0.0 10.0.0.0/8/8 fe80::%eth0/64 ::/0 192.168.0.0/16 10.9.0.0/29
    1.33 v1.99.0 v1.33.0+rke2r1 v1.33.0-alpha. latest v2.13.0 2.13.5 2.12.0 2.13.9999
    cluster.local a..b a. a= a =b x/y=z x/y/z=1 gpu=1: md-0=2 gpu =1 =
    cni.x=1 cni=[ cni=[2024-01-01] cni=NaN cni=1e999 cni=&a cni=[*a] cni={a:1,a:2} cni={a,b} cni=2024-13-45
    docker-llm-clusterclass in-memory-llm-clusterclass a/b/c /b a/ Default/x
    1h30m inf nan yaml table xml sandbox kind knd audit etcd true no none ~ ~/x . .. / /dev/null
    /proc/self/mem é✓ -- --yes -o -f --dry-run ${HOME} $(id) spec.yaml capi-llm.yaml
    rancher.example.com https://rancher.example.com/x rancher RANCHER.example.com llm-rancher
    """.split(),  # noqa: SIM905
    "",
    " ",
    " 1..3 ",
    "a\nb",
    "\x1b[31m",
    "\udcff",
    "a" * 64,
    "x" * 5000,
    "9" * 5000,
    "cni=" + "[" * 3000,
    "cni=[&a [*a]]",
    "cni={a: &a {<<: *a}}",
    "cni=!!python/object:os.system x",
)
"""For a flag or a variable: no NUL, which can be in neither."""

FRAGMENTS = (
    "apiVersion: capi-llm.dev/v1alpha1\n",
    "apiVersion: capi-llm.dev/v1alpha1\nkind: ClusterSpec\nname: demo\n",
    "kind: Settings\n",
    "kind: ClusterSpec\n",
    "cluster:\n  workers: 1\n",
    "cluster:\n",
    "  pods: 10.0.0.0/8\n",
    "variables:\n",
    "  cni: ",
    "plane: {name: a}\n",
    "<<: *a\n",
    "? [a]\n: b\n",
    "x: &b {<<: *b}\n",
    "!!binary YQ==",
    "!!set {a}",
    "!!timestamp 2024-01-01",
    "!!int x",
    "!!float 1_",
    "%YAML 9.9\n",
    "%TAG ! x\n",
    "null: 1\n",
    "yes: 1\n",
    "1: 2\n",
    "a: *nobody\n",
    '"\\0"',
    '"\\ud800"',
    "[" * 1500,
    "9" * 5000,
    "\x85",
    "\u2028",
    "\ufeff",
    *[
        "workers:",
        "pods:",
        "&a",
        "*a",
        "-",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "'",
        '"',
        "#",
        "|",
        ">-",
        "1..3",
        "2024-13-45",
        "0x",
        "0b",
        "0o9",
        "1:60:61",
        "_",
        ".nan",
        "-.inf",
        "~",
        "---",
        "...",
        "!x",
        "=",
    ],
    *" \t\n\0",
)
"""Pieces of YAML of which files are put together."""
