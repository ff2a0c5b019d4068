"""Management planes: the recipe of each kind, and what is done with them.

``recipes``    the steps of every kind of plane, on one screen
``making``     which plane a bootstrap is about: its name, kind and choices
``lifecycle``  bootstrap, what it would do, destroy
``access``     the plane that a command acts on, and its locks
``logs``       where the parts of a plane write
"""

from capi_llm.plane.access import cluster_lock, connected, working, working_on_cluster
from capi_llm.plane.lifecycle import bootstrap, destroy, overview, plan, to_destroy
from capi_llm.plane.logs import PARTS, log_lines, log_path
from capi_llm.plane.making import Chosen, choose, choose_name, kind_of
from capi_llm.plane.recipes import (
    CLASS_NAMESPACE,
    DEFAULT_CLASS,
    DOCKER_CLASS,
    IN_MEMORY_CLASS,
    KINDS,
    SANDBOX,
    default_class,
)

__all__ = [
    "CLASS_NAMESPACE",
    "DEFAULT_CLASS",
    "DOCKER_CLASS",
    "IN_MEMORY_CLASS",
    "KINDS",
    "PARTS",
    "SANDBOX",
    "Chosen",
    "bootstrap",
    "choose",
    "choose_name",
    "cluster_lock",
    "connected",
    "default_class",
    "destroy",
    "kind_of",
    "log_lines",
    "log_path",
    "overview",
    "plan",
    "to_destroy",
    "working",
    "working_on_cluster",
]
