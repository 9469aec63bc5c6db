output "bucket_name" {
  description = "As the module's output."
  value       = module.queue.bucket_name
}

output "bucket_arn" {
  description = "As the module's output."
  value       = module.queue.bucket_arn
}

output "input_uri" {
  description = "As the module's output."
  value       = module.queue.input_uri
}

output "output_uri" {
  description = "As the module's output."
  value       = module.queue.output_uri
}

output "table_name" {
  description = "As the module's output."
  value       = module.queue.table_name
}

output "table_arn" {
  description = "As the module's output."
  value       = module.queue.table_arn
}

output "functions" {
  description = "As the module's output."
  value       = module.queue.functions
}

output "roles" {
  description = "As the module's output."
  value       = module.queue.roles
}

output "policies" {
  description = "As the module's output."
  value       = module.queue.policies
}

output "rules" {
  description = "As the module's output."
  value       = module.queue.rules
}

output "dead_letter_queue" {
  description = "As the module's output."
  value       = module.queue.dead_letter_queue
}

output "log_groups" {
  description = "As the module's output."
  value       = module.queue.log_groups
}

output "alarms" {
  description = "As the module's output."
  value       = module.queue.alarms
}

output "dashboard" {
  description = "As the module's output."
  value       = module.queue.dashboard
}

output "events" {
  description = "As the module's output."
  value       = module.queue.events
}

output "topic_arn" {
  description = "ARN of the topic that gets messages for people."
  value       = aws_sns_topic.people.arn
}
