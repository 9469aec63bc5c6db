output "input_uri" {
  description = "Where to upload .jsonl files."
  value       = module.batch_inference.input_uri
}

output "output_uri" {
  description = "Where the results appear."
  value       = module.batch_inference.output_uri
}

output "bucket_name" {
  description = "Name of the bucket."
  value       = module.batch_inference.bucket_name
}

output "table_name" {
  description = "Where the status of each upload is."
  value       = module.batch_inference.table_name
}

output "dead_letter_queue" {
  description = "The queue of what failed for good."
  value       = module.batch_inference.dead_letter_queue
}

output "functions" {
  description = "The functions."
  value       = module.batch_inference.functions
}

output "log_groups" {
  description = "The functions' log groups."
  value       = module.batch_inference.log_groups
}

output "kms_key_arn" {
  description = "The key: who reads results needs kms:Decrypt on it, who uploads kms:GenerateDataKey (and kms:Decrypt for large files)."
  value       = module.key.arn
}
