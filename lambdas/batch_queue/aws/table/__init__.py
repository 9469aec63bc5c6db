"""The queue's table. Adapter for DynamoDB."""
