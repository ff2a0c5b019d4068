"""What capi-llm is told besides the words of a command, and the only reader of files and environment for it.

Sources in rising order: built-in default, ``capi-llm.yaml``, ``.env``, environment, flags. All
of them follow one table::

    table     every setting: path in the file, kind, default, variable, meaning
    words     those about a cluster, which ``new-cluster -f FILE`` shares
    models    the models as they are said; model_words, backend_words and wording read and check them
    providers other providers of Cluster API, read and checked
    kinds     how a value is checked, and how JSON Schema says it
    sources   what the file, ``.env`` and the environment say, each with its place
    load      all of them in their order: Settings
    schema    JSON Schema of capi-llm.yaml and of ClusterSpec files
    host      the networks that this machine is in, who listens on its ports
    secret    a text that nobody sees by accident
    process   the machine's name, colour, its proxies, what children inherit

Everything below the command line gets values, never names of variables.
"""

from capi_llm.settings.host import listener
from capi_llm.settings.load import Found, Settings, load
from capi_llm.settings.models import Backend, KeyRef, Model, Serving
from capi_llm.settings.process import (
    child_environment,
    command_environment,
    has_display,
    hostname,
    kubeconfig_files,
    no_colour,
    proxies,
)
from capi_llm.settings.providers import Provider
from capi_llm.settings.secret import Secret
from capi_llm.settings.sources import everything

__all__ = [
    "Backend",
    "Found",
    "KeyRef",
    "Model",
    "Provider",
    "Secret",
    "Serving",
    "Settings",
    "child_environment",
    "command_environment",
    "everything",
    "has_display",
    "hostname",
    "kubeconfig_files",
    "listener",
    "load",
    "no_colour",
    "proxies",
]
