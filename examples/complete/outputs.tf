output "bucket_name" {
  description = "Name of the bucket."
  value       = module.batch_inference.bucket_name
}

output "bucket_arn" {
  description = "ARN of the bucket."
  value       = module.batch_inference.bucket_arn
}

output "input_uri" {
  description = "Where to upload .jsonl files; put them into summaries/, labels/ or embeddings/ for another model than the default."
  value       = module.batch_inference.input_uri
}

output "output_uri" {
  description = "Where the results appear."
  value       = module.batch_inference.output_uri
}

output "table_name" {
  description = "Where the status of each upload is."
  value       = module.batch_inference.table_name
}

output "table_arn" {
  description = "ARN of that table."
  value       = module.batch_inference.table_arn
}

output "functions" {
  description = "The functions."
  value       = module.batch_inference.functions
}

output "roles" {
  description = "The roles of functions and Bedrock jobs."
  value       = module.batch_inference.roles
}

output "rules" {
  description = "The rules that wake process_batch_jobs."
  value       = module.batch_inference.rules
}

output "events" {
  description = "What a rule for the queue's events needs."
  value       = module.batch_inference.events
}

output "dead_letter_queue" {
  description = "The queue of what failed for good."
  value       = module.batch_inference.dead_letter_queue
}

output "log_groups" {
  description = "The functions' log groups."
  value       = module.batch_inference.log_groups
}

output "alarms" {
  description = "The alarms, which go to the topic."
  value       = module.batch_inference.alarms
}

output "alarm_topic_arn" {
  description = "The SNS topic to subscribe to."
  value       = aws_sns_topic.alarms.arn
}

output "dashboard" {
  description = "The dashboard of the queue."
  value       = module.batch_inference.dashboard
}
