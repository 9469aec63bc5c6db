"""The ten steps from an upload to its result, over the adapters that a ``Queue`` holds."""
