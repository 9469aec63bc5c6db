output "input_uri" {
  description = "Where to upload .jsonl files."
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
