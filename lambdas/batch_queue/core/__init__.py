"""The pure core of the queue: it imports only the standard library and itself, and reads no clock."""
