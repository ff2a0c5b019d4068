"""How long each step may take before it has failed, in seconds. The one table of them."""

EXECUTABLES = 3600.0
"""Downloading, or compiling everything on a slow machine."""

CERTIFICATES = 30.0
SUPERVISOR = 30.0
PROCESS = 90.0
"""From start to healthy, on a machine that does much else."""

PORTS = 5.0
"""Until a process that has just been killed lets go of its port, on such a machine."""

CLUSTER_API = 120.0
CLASSES = 120.0
SIMULATED_NODE = 60.0

DOCKER = 30.0
IMAGES = 3600.0
"""Pulling, or loading into a node."""

KIND_CLUSTER = 600.0
CONTAINERS = 300.0
"""Those of all workload clusters: stopped, given their addresses, started."""

TEARDOWN = 180.0
"""Of all workload clusters, before their containers are removed by force."""

MANAGER = 300.0
"""From a Deployment of Cluster API to its pod being ready."""

CLUSTER = 1800.0
"""Default of ``new-cluster --timeout``: machines that pull images take long."""

APPS = 900.0
"""Default of ``apps apply --timeout``: images of several GB are pulled."""

REHEARSAL = 600.0
"""Default of ``rehearse --timeout``, once its sandbox is there."""

FORWARD = 60.0
"""Default of ``portforward --timeout``: how long one connection waits for a ready pod."""

SMOKE = 120.0
"""Default of ``smoke --timeout`` and ``chat --timeout``: one answer, where a model may have to be loaded."""

DELETE = 900.0
"""Default of ``delete-cluster --timeout``."""

CHART = 600.0
"""A Helm release: from its installation until its pods are ready, images pulled."""

RANCHER = 1200.0
"""Rancher's image is large, and it starts in two to five minutes on a laptop."""

RANCHER_PARTS = 900.0
"""What Rancher installs by itself: its webhook, Fleet, Turtles, Cluster API core."""

PROVIDER = 600.0
IMPORT = 900.0
"""From a control plane that answers to a cluster that Rancher calls Ready."""

SETTINGS = 120.0
EXPOSED = 300.0
