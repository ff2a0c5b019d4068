"""Docker, by its own command line, and the machine under it. Nothing else of capi-llm starts ``docker``.

``docker``   containers, images and networks: asked for, started, removed
``facts``    the daemon as it is, and whether that is enough for a kind plane
``host``     what a kind plane needs of the machine besides: kernel limits, ports, networks
``images``   images: on the host, in a node
"""
