"""One file with what somebody needs who is to help, and with no secret in it.

``redact``    takes secrets out of text and of objects
``objects``   reads the objects of a plane
``collect``   every piece of the bundle, each of which may be missing
``archive``   the file
"""
