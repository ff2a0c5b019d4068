"""The LLM apps on workload clusters: what they are, and how they get there.

A *bundle* is a folder with ``fleet.yaml``, as Fleet reads it from git, and beside it a small Helm
chart of ours, or in it a pinned reference to a chart of somebody else. A *release* is a bundle as it is to be
on one cluster, with all its values. A *delivery engine* brings releases there: Fleet, or the
direct one, which applies the objects itself. From the ground up::

    bundle     what a bundle is
    fleetfile  fleet.yaml, read strictly
    catalogue  which bundles there are, and their order
    engine     what a delivery engine does, and the types of what it tells
"""
