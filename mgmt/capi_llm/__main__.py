"""``python -m capi_llm`` is ``capi-llm``."""

from capi_llm.cli.main import main

if __name__ == "__main__":
    main()
