output "bucket_name" {
  description = "Name of the bucket for uploads and results."
  value       = local.bucket_name
}

output "bucket_arn" {
  description = "ARN of the bucket."
  value       = local.bucket_arn
}

output "bucket_notification" {
  description = "For a bucket whose notification configuration is not managed by this module: the arguments of the block lambda_function to add to its aws_s3_bucket_notification."
  value       = local.notification

  # S3 checks that it may invoke the function when the notification is set. Until versioning is enabled, an upload has
  # no version ID that identifies it.
  depends_on = [aws_lambda_permission.bucket, aws_s3_bucket_versioning.this]
}

output "input_uri" {
  description = "Where to upload .jsonl files, as an S3 URI with a slash at its end."
  value       = "s3://${local.bucket_name}/${var.input_prefix}"
}

output "output_uri" {
  description = "Where results and reports appear, as an S3 URI with a slash at its end."
  value       = "s3://${local.bucket_name}/${var.output_prefix}"
}

output "table_name" {
  description = "Name of the queue's DynamoDB table."
  value       = aws_dynamodb_table.this.name
}

output "table_arn" {
  description = "ARN of the queue's DynamoDB table."
  value       = aws_dynamodb_table.this.arn
}

output "functions" {
  description = "Name and ARN of the functions create_batch_queue, process_batch_jobs, collect_results, operate_queue and publish_events."
  value = {
    for key, function in aws_lambda_function.this : key => { name = function.function_name, arn = function.arn }
  }
}

output "roles" {
  description = "Name and ARN of the functions' roles, and of the service role of the Bedrock jobs as bedrock."
  value = merge(
    { for key, role in aws_iam_role.function : key => { name = role.name, arn = role.arn } },
    { bedrock = { name = local.bedrock_role_name, arn = local.bedrock_role_arn } },
  )
}

output "policies" {
  description = "IAM policy documents as JSON, for the roles of other stacks: submit to upload files, read to read uploads, results and rows, and operate to give orders."
  value       = { for key in keys(local.policy_statements) : key => data.aws_iam_policy_document.role["policy_${key}"].json }
}

output "rules" {
  description = "Name and ARN of the EventBridge rules schedule, job_state and, unless sweep_schedule_expression is null, sweep."
  value = {
    for key, rule in merge(local.rules, { for rule in aws_cloudwatch_event_rule.sweep : "sweep" => rule }) :
    key => { name = rule.name, arn = rule.arn }
  }
}

output "events" {
  description = "What a rule for the queue's events needs: the source, the name and ARN of the event bus, and the name of the queue, which is the attribute queue of each event's detail."
  value = {
    source   = "bedrock-batch-queue"
    bus_name = regex("event-bus/(.+)$", local.event_bus_arn)[0]
    bus_arn  = local.event_bus_arn
    queue    = var.name
  }
}

output "dead_letter_queue" {
  description = "Name, ARN and URL of the SQS queue that receives what failed for good."
  value = {
    name = aws_sqs_queue.dead_letters.name
    arn  = aws_sqs_queue.dead_letters.arn
    url  = aws_sqs_queue.dead_letters.url
  }
}

output "log_groups" {
  description = "Name and ARN of the functions' log groups."
  value = {
    for key, group in aws_cloudwatch_log_group.function : key => { name = group.name, arn = group.arn }
  }
}

output "alarms" {
  description = "Name and ARN of each alarm: dead_letters, dead_letter_errors, events_dropped, failed_invocations, oldest_pending, failed_uploads, rejected_uploads, failed_records, near_expiry, schedule_stopped and sweep_stopped (unless the rule can pause for more than half a week), for each function <function>_errors, and for each route stalled_jobs_<route>."
  value = {
    for key, alarm in aws_cloudwatch_metric_alarm.this : key => { name = alarm.alarm_name, arn = alarm.arn }
  }
}

output "dashboard" {
  description = "Name, ARN and URL of the CloudWatch dashboard, or null without one."
  value = one([
    for dashboard in aws_cloudwatch_dashboard.this : {
      name = dashboard.dashboard_name
      arn  = dashboard.dashboard_arn
      url  = "${local.console_url}/cloudwatch/home?region=${local.region}#dashboards/dashboard/${dashboard.dashboard_name}"
    }
  ])
}
