"""Workload clusters: what they should be, and how far they are.

A cluster is a frozen :class:`~capi_llm.clusters.spec.ClusterSpec` and a pure function from
it to one Cluster object with a topology. What was asked for is kept on the object as the
annotation ``capi-llm.dev/intent``; what is there is always read from the object's topology,
so that a Cluster that kubectl applied is as good as one of ours::

    given       what the user said, by flags, in a file or in settings
    spec        given and defaults -> ClusterSpec
    specfile    the file of -f
    topology    ClusterSpec -> Cluster object, and back
    difference  what differs, and the command that changes it
    classes     ClusterClasses: shipped, from a folder, in the cluster; variables
    create      create, or compare and refuse; wait until ready
    scale       another range of workers for a pool
    view tree   objects -> a tree with a verdict and the root cause
    kubeconfig  fetch and save
    delete      in order, and who holds what
    events      what happened to a cluster's objects

Only values that the user said are compared with an existing cluster. So a newer release
with other defaults does not make yesterday's command differ.
"""
