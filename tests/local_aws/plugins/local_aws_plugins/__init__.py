"""LocalStack without Docker: functions run as local processes, DynamoDB is answered by moto."""
