"""Delivery by Fleet: objects on the management plane, which an agent on each workload cluster applies.

What is written is declarative and small: a Bundle with the files of our own chart in it, or a
HelmOp for a chart of somebody else. Fleet's controller makes a BundleDeployment of it for each
Fleet Cluster that its targets match, and the agent there installs it with helm. Nothing that is
secret is in these objects, as everybody who may read Bundles would read it. From the ground up::

    kinds         the kinds of fleet.cattle.io
    targets       which clusters, and what is different on one of them
    secrecy       what may not be in a Bundle
    size          what fits into one
    objects       a release as a Bundle or HelmOp
    registration  a Fleet Cluster for a Cluster of Cluster API
    reading       how an app is, from what Fleet says
    engine        the delivery engine
    overview      what Fleet says of clusters, for `status --verbose`
"""
