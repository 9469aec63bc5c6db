output "arn" {
  description = "ARN of the key: the queue's input kms_key_arn."
  value       = aws_kms_key.this.arn
}

output "id" {
  description = "ID of the key, for other resources that use it, such as the SNS topic of the alarms."
  value       = aws_kms_key.this.id
}
