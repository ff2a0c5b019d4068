"""The command line: flags in, one call down, output and an exit code out.

Commands translate, they do not think. People read stderr, programs read stdout. Nothing
here imports what ``--help`` does not need: bodies import what they call.
"""
