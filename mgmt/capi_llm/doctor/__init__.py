"""What each kind of management plane needs, and whether it is here. Nothing is changed.

A theme has a module. It gathers *facts* (``gather``), which is all that touches the machine,
and judges them (``judge``), which is pure: the same facts give the same checks, so that
a machine that was seen once can be judged again in a test.

Themes are looked at side by side, each probe with a limit of its own in seconds and all
together with another: what does not answer is told, and holds up nothing.

``checks``       what a check says
``probing``      side by side, within a limit
``machine``      Python, system, memory, open files, clock
``folders``      state and cache folders: writable, private, space
``parts``        the sandbox's executables, and Go
``ports``        loopback addresses and ports
``proxies``      proxies and package sources
``planes``       sandboxes that are there: certificates, clock
``docker``       Docker's daemon
``programs``     helm, kind, kubectl, clusterctl
``kind``         what else a kind cluster needs of its machine
``kubeconfigs``  which kubeconfig and context would be used
``existing``     an API server that is there, and what runs on it
``examine``      all of it, and one verdict for each kind
"""
