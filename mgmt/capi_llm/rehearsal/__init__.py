"""A change to clusters, run on a throwaway sandbox before anything real is touched.

From the ground up::

    world     ClusterClasses, templates and clusters as plain objects
    manifests the same, read from files; a change laid over a world
    live      the same, read from a management cluster
    findings  what a rehearsal has to say besides machines
    checks    what is wrong with a change without running it
    mapping   the world as the sandbox can hold it: infrastructure in memory, its spec carried along
    stage     the throwaway sandbox: made, prepared, destroyed
    timeline  what became of each machine, and in which order
    reasons   which field of what was rendered made machines roll
    settling  whether the clusters of the sandbox have come to rest
    results   what was seen, as plain data
    course    before, change, after
    run       a course on a sandbox made for it
    report    the same as lines and as JSON

Cluster API's own controllers and webhooks decide; nothing here works out what they would do.
"""
