"""`python -m bedrock_batch_simulator`, the same as the command `bedrock-batch-simulator`."""

from .server import main

if __name__ == "__main__":
    raise SystemExit(main())
