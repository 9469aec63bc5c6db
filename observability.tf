# Logs, the dead-letter queue and the alarms.

resource "aws_cloudwatch_log_group" "function" {
  for_each = local.functions

  name              = "/aws/lambda/${each.value.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = local.tags
}

# What failed for good: events that a function could not handle, and calls that a rule could not make.
resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-dead-letters-${local.region}"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
  tags                      = local.tags
}

data "aws_iam_policy_document" "dead_letters" {
  statement {
    sid       = "DenyWithoutTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.dead_letters.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  statement {
    sid       = "AllowOurRules"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letters.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values = concat(
        [aws_cloudwatch_event_rule.schedule.arn, aws_cloudwatch_event_rule.job_state.arn],
        aws_cloudwatch_event_rule.sweep[*].arn,
      )
    }
  }
}

resource "aws_sqs_queue_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.url
  policy    = data.aws_iam_policy_document.dead_letters.json
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  alarm_name          = "${var.name}-dead-letters-${local.region}"
  alarm_description   = "Something in the queue ${var.name} failed for good. Read the messages of ${aws_sqs_queue.dead_letters.name} (their attributes say why it failed; the body is the event), mend the cause, invoke the function with the body again, then delete the message. Messages are kept for 14 days."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead_letters.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  for_each = local.functions

  # Three is what one event makes that fails at once and at both retries.
  alarm_name          = "${each.value.name}-errors"
  alarm_description   = "${each.value.name} failed at least three times in 15 minutes. Look for level ERROR in the log group ${aws_cloudwatch_log_group.function[each.key].name}. What can be tried again is tried again by itself; what cannot arrives in ${aws_sqs_queue.dead_letters.name}."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = each.value.name }
  statistic           = "Sum"
  period              = 900
  evaluation_periods  = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 3
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags
}

# Each run of process_batch_jobs tells the age. Between two runs, which the schedule may set far apart, the last
# answer holds: without it the alarm would end and begin again at each run.
resource "aws_cloudwatch_metric_alarm" "oldest_pending" {
  alarm_name          = "${var.name}-oldest-pending-${local.region}"
  alarm_description   = "Work in the queue ${var.name} has been waiting for more than ${var.pending_age_alarm_hours} hours: for a slot, for Bedrock to accept or end a job, for the output of a job to be collected, for answers on demand, or for a route that was removed. The attribute message of the upload's row says which. If it waits for a slot, see in the Bedrock console which batch inference jobs of the account hold the slots of its model; then raise max_active_jobs (and the quota, if that is what is used up), give its route a higher priority, or look for Bedrock's refusals in the log group ${aws_cloudwatch_log_group.function["process_batch_jobs"].name}."
  namespace           = "BedrockBatchQueue"
  metric_name         = "OldestPendingAge"
  dimensions          = { Queue = var.name }
  statistic           = "Maximum"
  period              = 900
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.pending_age_alarm_hours * 3600
  treat_missing_data  = "ignore"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags
}

# How uploads end is counted when their row is stored. No data means that none has ended that way.
locals {
  ends = {
    failed_uploads = {
      metric = "UploadsFailed"
      advice = "At least one upload of the queue ${var.name} ended as Failed in the last five minutes. Query the index status-index of the table ${aws_dynamodb_table.this.name} with status_key = upload#Failed: the attribute message of each row says why, and the summary beside the result says it too. Correct the cause (often the access to the model, the role or the quota) and upload the files again."
    }
    rejected_uploads = {
      metric = "UploadsRejected"
      advice = "At least one upload of the queue ${var.name} was rejected in the last five minutes, and none of its records ran. Read the reports *.rejected.json below s3://${local.bucket_name}/${var.output_prefix}, or query the index status-index of the table ${aws_dynamodb_table.this.name} with status_key = upload#Rejected. They list what is wrong. Correct the files and upload them again."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "ends" {
  for_each = local.ends

  alarm_name          = "${var.name}-${replace(each.key, "_", "-")}-${local.region}"
  alarm_description   = each.value.advice
  namespace           = "BedrockBatchQueue"
  metric_name         = each.value.metric
  dimensions          = { Queue = var.name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags
}

locals {
  scheduled = merge(
    { schedule = aws_cloudwatch_event_rule.schedule },
    { for rule in aws_cloudwatch_event_rule.sweep : "sweep" => rule },
  )
  rates = {
    for key, rule in local.scheduled :
    key => try(regex("^rate\\(([0-9]+) (minute|hour|day)", rule.schedule_expression), null)
  }
  unit_hours = { minute = 1 / 60, hour = 1, day = 24 }
  # Hours without a run: two intervals of a rate, two days for a cron(…) that runs every day. Other rules can pause
  # for longer than the week that an alarm can look back, so they have no alarm.
  every_day = "^cron\\([^ ]+ [^ ]+ [*?] [*] [*?] [*]\\)$"
  quiet_hours = {
    for key, rate in local.rates : key => (
      rate != null ? max(1, ceil(2 * rate[0] * local.unit_hours[rate[1]])) :
      can(regex(local.every_day, local.scheduled[key].schedule_expression)) ? 48 : null
    )
  }
}

# A rule that does not run sends no metric, so the alarm's state becomes INSUFFICIENT_DATA. If missing data were
# breaching, each first apply would raise the alarm.
resource "aws_cloudwatch_metric_alarm" "stopped" {
  for_each = { for key, hours in local.quiet_hours : key => hours if hours == null ? false : hours <= 168 }

  alarm_name                = "${var.name}-${each.key}-stopped-${local.region}"
  alarm_description         = "INSUFFICIENT_DATA means that the rule ${local.scheduled[each.key].name} has not run for ${each.value} hours. Without it, work whose event was lost waits until somebody notices. Enable the rule, or run terraform apply if it was deleted."
  namespace                 = "AWS/Events"
  metric_name               = "Invocations"
  dimensions                = { RuleName = local.scheduled[each.key].name }
  statistic                 = "Sum"
  period                    = 3600
  evaluation_periods        = each.value
  comparison_operator       = "LessThanThreshold"
  threshold                 = 1
  treat_missing_data        = "missing"
  alarm_actions             = var.alarm_actions
  insufficient_data_actions = var.alarm_actions
  ok_actions                = var.alarm_actions
  tags                      = local.tags
}
