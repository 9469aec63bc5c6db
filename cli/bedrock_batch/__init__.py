"""The command line and the Python client of the Amazon Bedrock batch queue (docs/client.md)."""
