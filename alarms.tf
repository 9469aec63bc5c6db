# The alarms. Each description says what to do first, and names its heading in docs/operations.md, the runbook.

locals {
  namespace = "BedrockBatchQueue"

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

  # By route, the values that the dimension ModelId of AWS's metrics can have. AWS does not document whether that of a
  # job with an inference profile is the profile or its model.
  metric_models = {
    for name, route in local.routes : name => distinct([
      for id in [reverse(split("/", route.model_id))[0]] : [id, replace(id, "/${local.geography}/", "")]
    ]...)
  }

  # Enough to look at a job before Bedrock ends it.
  expiry_hours = 2

  # By alarm: `heading` of the runbook, `description`, and the metric. `each` are the metrics of a sum or of the
  # expression; what is left out is the default of the resource below.
  alarms = merge(
    {
      dead_letters = {
        heading     = "something-failed-for-good"
        description = "Something in the queue ${var.name} failed for good. Read the messages of ${aws_sqs_queue.dead_letters.name}: their attributes say why it failed, and the body is the event. Correct the cause, invoke the function with the body again, and then delete the message. Messages are kept for 14 days."
        namespace   = "AWS/SQS"
        metric_name = "ApproximateNumberOfMessagesVisible"
        dimensions  = { QueueName = aws_sqs_queue.dead_letters.name }
        statistic   = "Maximum"
      }
      # Each run of process_batch_jobs tells the age. Between two runs, which the schedule may set far apart, the last
      # answer holds: without it the alarm would end and begin again at each run.
      oldest_pending = {
        heading            = "work-waits-too-long"
        description        = "Work in the queue ${var.name} has been waiting for more than ${var.pending_age_alarm_hours} hours: for a slot, for Bedrock to accept or end a job, for the output of a job to be collected, for answers on demand, or for a route that was removed. The attribute message of the upload's row says which. If it waits for a slot, see in the Bedrock console which batch inference jobs of the account hold the slots of its model; then raise max_active_jobs (and the quota, if that is used up), give its route a higher priority, or look for Bedrock's refusals in the log group ${aws_cloudwatch_log_group.function["process_batch_jobs"].name}."
        metric_name        = "OldestPendingAge"
        statistic          = "Maximum"
        period             = 900
        threshold          = var.pending_age_alarm_hours * 3600
        treat_missing_data = "ignore"
      }
      # How uploads end is counted when their row is stored. No data means that none has ended that way.
      failed_uploads = {
        heading     = "uploads-fail"
        description = "At least one upload of the queue ${var.name} ended as Failed in the last five minutes. Query the index status-index of the table ${aws_dynamodb_table.this.name} with status_key = upload#Failed: the attribute message of each row says why, and the summary beside the result says it too. Correct the cause (often the access to the model, the role or the quota) and upload the files again."
        metric_name = "UploadsFailed"
      }
      rejected_uploads = {
        heading     = "uploads-are-rejected"
        description = "At least one upload of the queue ${var.name} was rejected in the last five minutes, and none of its records ran. Read the reports *.rejected.json beside the results in the bucket ${local.bucket_name}, or query the index status-index of the table ${aws_dynamodb_table.this.name} with status_key = upload#Rejected. They list what is wrong. Correct the files and upload them again."
        metric_name = "UploadsRejected"
      }
      near_expiry = {
        heading     = "a-job-is-about-to-expire"
        description = "In less than ${local.expiry_hours} hours, Bedrock will end a job of the queue ${var.name} that has not ended by then. What it has answered is kept, and its other records run again, up to max_record_attempts. Find the job in the Bedrock console and compare its processed records with its total. If its jobs need that long, raise timeout_hours of the route or lower its max_records_per_job."
        metric_name = "ShortestTimeToExpiry"
        statistic   = "Minimum"
        # Sent by each run while a job is active, so at least once in this time.
        period              = 3600 * min(24, coalesce(local.quiet_hours.schedule, 24))
        comparison_operator = "LessThanThreshold"
        threshold           = local.expiry_hours * 3600
      }
      # Lambda counts each of its functions, and EventBridge each of its rules. An alarm costs the same for each metric
      # that it looks at, so one over all of them is as cheap as one for each.
      dead_letter_errors = {
        heading     = "dead-letters-are-lost"
        description = "Lambda could not send an event of the queue ${var.name} that had failed for good to ${aws_sqs_queue.dead_letters.name}: the event is lost. Allow the functions' roles to send to the queue and to use its KMS key (policies, permissions boundary, endpoint policies). Then enqueue what is missing with a sweep, and invoke process_batch_jobs."
        each        = { for key, function in local.functions : key => ["AWS/Lambda", "DeadLetterErrors", { FunctionName = function.name }] }
      }
      events_dropped = {
        heading     = "events-are-dropped"
        description = "Lambda gave up an event of the queue ${var.name}: it failed three times, or it waited for six hours because the function was throttled. Unless the alarm dead-letter-errors is raised too, the event is in ${aws_sqs_queue.dead_letters.name}. Compare the metrics AsyncEventAge and Throttles of the functions with the concurrency of the account and with lambda_reserved_concurrency, and look for level ERROR in the functions' logs."
        each        = { for key, function in local.functions : key => ["AWS/Lambda", "AsyncEventsDropped", { FunctionName = function.name }] }
      }
      failed_invocations = {
        heading     = "a-rule-cannot-invoke-its-function"
        description = "A rule of the queue ${var.name} could not invoke its function. The events are in ${aws_sqs_queue.dead_letters.name}, with the reason in the attribute ERROR_MESSAGE. Usually the permission of the rule or the function is missing: run terraform apply. Bedrock's events about jobs need no repetition, because the schedule finds what they told."
        each        = { for key, rule in merge(local.rules, local.scheduled) : key => ["AWS/Events", "FailedInvocations", { RuleName = rule.name }] }
      }
    },
    # Both counts are sent together.
    var.failed_records_alarm_percent == null ? {} : {
      failed_records = {
        heading     = "many-records-fail"
        description = "More than ${var.failed_records_alarm_percent} percent of the records of the queue ${var.name} that ended in the last hour failed for good. Their lines in the results say why, and the summaries beside the results count them by error code: query the index status-index of the table ${aws_dynamodb_table.this.name} with status_key = upload#PartiallyCompleted or upload#Failed. Often, a parameter of the requests is wrong for the model."
        period      = 3600
        threshold   = var.failed_records_alarm_percent
        each = {
          for key, metric in { failed = "RecordsFailed", succeeded = "RecordsSucceeded" } :
          key => [local.namespace, metric, { Queue = var.name }]
        }
        expression = "100 * failed / (failed + succeeded)"
      }
    },
    # Three is what one event makes that fails at once and at both retries.
    {
      for key, function in local.functions : "${key}_errors" => {
        name                = "${function.name}-errors"
        heading             = "a-function-fails"
        description         = "${function.name} failed at least three times in 15 minutes. Look for level ERROR in the log group ${aws_cloudwatch_log_group.function[key].name}. What can be tried again is tried again by itself; what cannot arrives in ${aws_sqs_queue.dead_letters.name}."
        namespace           = "AWS/Lambda"
        metric_name         = "Errors"
        dimensions          = { FunctionName = function.name }
        period              = 900
        comparison_operator = "GreaterThanOrEqualToThreshold"
        threshold           = 3
      }
    },
    # A rule that does not run sends no metric, so the alarm's state becomes INSUFFICIENT_DATA. If missing data were
    # breaching, each first apply would raise the alarm.
    {
      for key, hours in local.quiet_hours : "${key}_stopped" => {
        heading                   = "a-schedule-stopped"
        description               = "INSUFFICIENT_DATA means that the rule ${local.scheduled[key].name} has not run for ${hours} hours. Without it, work whose event was lost waits until somebody notices. Enable the rule, or run terraform apply if it was deleted."
        namespace                 = "AWS/Events"
        metric_name               = "Invocations"
        dimensions                = { RuleName = local.scheduled[key].name }
        period                    = 3600
        evaluation_periods        = hours
        comparison_operator       = "LessThanThreshold"
        threshold                 = 1
        treat_missing_data        = "missing"
        insufficient_data_actions = var.alarm_actions
      } if hours == null ? false : hours <= 168
    },
    # By route and not by model: for_each must be known in every plan, and the ID of a model need not be.
    {
      for route, models in local.metric_models : "stalled_jobs_${route}" => {
        name               = "${var.name}-stalled-jobs-${route}-${local.region}"
        heading            = "a-job-stalls"
        description        = "For ${var.stalled_job_alarm_minutes} minutes, records of the model of the route ${route} of the queue ${var.name} have been waiting at Bedrock, and it has processed no token. Bedrock's metrics count all batch jobs of the account for that model, also those of others. See which jobs these are in the Bedrock console. A job that does not go on ends at its timeout; what it has not answered then runs again. If the AWS Health Dashboard reports nothing about Bedrock, ask AWS Support."
        period             = 300
        evaluation_periods = var.stalled_job_alarm_minutes / 5
        each = merge([
          for index, model in models : {
            "pending${index}" = ["AWS/Bedrock/Batch", "NumberOfRecordsPendingProcessing", { ModelId = model }]
            "tokens${index}"  = ["AWS/Bedrock/Batch", "NumberOfInputTokensProcessedPerMinute", { ModelId = model }]
          }
        ]...)
        statistic = "Maximum"
        # So that tokens that are not reported at all count as none.
        steps = { for index, model in models : "zero${index}" => "pending${index} * 0" }
        expression = join("", [
          "IF(SUM([${join(", ", [for index, model in models : "pending${index}"])}]) > 0 AND ",
          "SUM([${join(", ", [for index, model in models : "tokens${index}, zero${index}"])}]) == 0, 1, 0)",
        ])
      } if var.stalled_job_alarm_minutes != null
    },
  )

  alarm_names = {
    for key, alarm in local.alarms : key => try(alarm.name, "${var.name}-${replace(key, "_", "-")}-${local.region}")
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name        = local.alarm_names[each.key]
  alarm_description = "${each.value.description} See docs/operations.md#${each.value.heading}."

  namespace   = can(each.value.each) ? null : try(each.value.namespace, local.namespace)
  metric_name = try(each.value.metric_name, null)
  dimensions  = can(each.value.each) ? null : try(each.value.dimensions, { Queue = var.name })
  statistic   = can(each.value.each) ? null : try(each.value.statistic, "Sum")
  period      = can(each.value.each) ? null : try(each.value.period, 300)

  dynamic "metric_query" {
    for_each = try(each.value.each, {})

    content {
      id = metric_query.key

      metric {
        namespace   = metric_query.value[0]
        metric_name = metric_query.value[1]
        dimensions  = metric_query.value[2]
        stat        = try(each.value.statistic, "Sum")
        period      = try(each.value.period, 300)
      }
    }
  }

  dynamic "metric_query" {
    for_each = try(each.value.steps, {})

    content {
      id         = metric_query.key
      expression = metric_query.value
    }
  }

  # SUM takes what there is: no function need have sent its metric.
  dynamic "metric_query" {
    for_each = can(each.value.each) ? [each.value.each] : []

    content {
      id          = "watched"
      label       = each.value.heading
      expression  = try(each.value.expression, "SUM([${join(", ", keys(metric_query.value))}])")
      return_data = true
    }
  }

  evaluation_periods        = try(each.value.evaluation_periods, 1)
  comparison_operator       = try(each.value.comparison_operator, "GreaterThanThreshold")
  threshold                 = try(each.value.threshold, 0)
  treat_missing_data        = try(each.value.treat_missing_data, "notBreaching")
  alarm_actions             = var.alarm_actions
  insufficient_data_actions = try(each.value.insufficient_data_actions, null)
  ok_actions                = var.ok_actions == null ? var.alarm_actions : var.ok_actions
  tags                      = local.tags
}

# Each alarm was a resource of its own, or one of a few, in earlier versions.
moved {
  from = aws_cloudwatch_metric_alarm.dead_letters
  to   = aws_cloudwatch_metric_alarm.this["dead_letters"]
}

moved {
  from = aws_cloudwatch_metric_alarm.oldest_pending
  to   = aws_cloudwatch_metric_alarm.this["oldest_pending"]
}

moved {
  from = aws_cloudwatch_metric_alarm.ends["failed_uploads"]
  to   = aws_cloudwatch_metric_alarm.this["failed_uploads"]
}

moved {
  from = aws_cloudwatch_metric_alarm.ends["rejected_uploads"]
  to   = aws_cloudwatch_metric_alarm.this["rejected_uploads"]
}

moved {
  from = aws_cloudwatch_metric_alarm.errors["create_batch_queue"]
  to   = aws_cloudwatch_metric_alarm.this["create_batch_queue_errors"]
}

moved {
  from = aws_cloudwatch_metric_alarm.errors["process_batch_jobs"]
  to   = aws_cloudwatch_metric_alarm.this["process_batch_jobs_errors"]
}

moved {
  from = aws_cloudwatch_metric_alarm.errors["collect_results"]
  to   = aws_cloudwatch_metric_alarm.this["collect_results_errors"]
}

moved {
  from = aws_cloudwatch_metric_alarm.stopped["schedule"]
  to   = aws_cloudwatch_metric_alarm.this["schedule_stopped"]
}

moved {
  from = aws_cloudwatch_metric_alarm.stopped["sweep"]
  to   = aws_cloudwatch_metric_alarm.this["sweep_stopped"]
}
