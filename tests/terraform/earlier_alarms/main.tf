# The alarms at the addresses that they had before they became one resource.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

locals {
  name      = "br-batch-inference"
  functions = ["create-batch-queue", "process-batch-jobs", "collect-results"]
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  alarm_name          = "${local.name}-dead-letters-us-east-1"
  comparison_operator = "GreaterThanThreshold"
  evaluation_periods  = 1
}

resource "aws_cloudwatch_metric_alarm" "oldest_pending" {
  alarm_name          = "${local.name}-oldest-pending-us-east-1"
  comparison_operator = "GreaterThanThreshold"
  evaluation_periods  = 1
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  for_each = { for function in local.functions : replace(function, "-", "_") => function }

  alarm_name          = "${local.name}-${each.value}-us-east-1-errors"
  comparison_operator = "GreaterThanThreshold"
  evaluation_periods  = 1
}

resource "aws_cloudwatch_metric_alarm" "ends" {
  for_each = toset(["failed_uploads", "rejected_uploads"])

  alarm_name          = "${local.name}-${replace(each.key, "_", "-")}-us-east-1"
  comparison_operator = "GreaterThanThreshold"
  evaluation_periods  = 1
}

resource "aws_cloudwatch_metric_alarm" "stopped" {
  for_each = toset(["schedule", "sweep"])

  alarm_name          = "${local.name}-${each.key}-stopped-us-east-1"
  comparison_operator = "GreaterThanThreshold"
  evaluation_periods  = 1
}

output "arns" {
  description = "Name of each alarm → its ARN."
  value = {
    for alarm in concat(
      [aws_cloudwatch_metric_alarm.dead_letters, aws_cloudwatch_metric_alarm.oldest_pending],
      values(aws_cloudwatch_metric_alarm.errors), values(aws_cloudwatch_metric_alarm.ends),
      values(aws_cloudwatch_metric_alarm.stopped),
    ) : alarm.alarm_name => alarm.arn
  }
}
