"""The pure core of the queue: it imports the standard library and itself alone, and reads no clock."""
