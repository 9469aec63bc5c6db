# The alarms, each of them with its heading in the runbook.

mock_provider "aws" {
  source          = "./tests/terraform/mocks"
  override_during = plan
}

variables {
  model_id = "anthropic.claude-haiku-4-5-20251001-v1:0"
}

run "runbook" {
  command = plan

  assert {
    condition = toset([
      for alarm in aws_cloudwatch_metric_alarm.this : regex("See docs/operations\\.md#([a-z-]+)\\.$", alarm.alarm_description)[0]
      ]) == toset([
      for heading in flatten(regexall("(?m)^### (.+)$", regex("(?s)\n## Alarms\n(.*?)\n## ", file("./docs/operations.md"))[0])) :
      replace(lower(heading), " ", "-")
    ])
    error_message = "Each alarm names a heading below Alarms in docs/operations.md, and each of these headings is named by an alarm."
  }

  assert {
    condition = alltrue([
      for key, alarm in aws_cloudwatch_metric_alarm.this :
      strcontains(file("./docs/operations.md"), startswith(key, "stalled_jobs_") ? "`stalled_jobs_<route>`" : endswith(key, "_errors") && key != "dead_letter_errors" ? "`<function>_errors`" : "`${key}`")
    ])
    error_message = "The runbook names each alarm as the output alarms does."
  }
}

run "longest_names" {
  command = plan

  variables {
    name        = "abcdefghijklmnopqrstuvwxyz-abc"
    bucket_name = "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-123456789"
    routes      = { "r234567890123456789012345678901234567890123456789012345678901234" = { model_id = "amazon.nova-lite-v1:0" } }
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : length(alarm.alarm_description) <= 1024 && length(alarm.alarm_name) <= 255])
    error_message = "CloudWatch takes names of 255 characters and descriptions of 1,024."
  }
}

run "uploads" {
  command = plan

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["oldest_pending"].namespace == "BedrockBatchQueue" &&
      aws_cloudwatch_metric_alarm.this["oldest_pending"].metric_name == "OldestPendingAge" &&
      aws_cloudwatch_metric_alarm.this["oldest_pending"].dimensions == tomap({ Queue = "br-batch-inference" }) &&
      aws_cloudwatch_metric_alarm.this["oldest_pending"].threshold == 86400 &&
      aws_cloudwatch_metric_alarm.this["oldest_pending"].treat_missing_data == "ignore"
    )
    error_message = "An upload that waits for more than a day raises an alarm."
  }

  assert {
    condition = alltrue([
      for key, metric in { failed_uploads = "UploadsFailed", rejected_uploads = "UploadsRejected" } : (
        aws_cloudwatch_metric_alarm.this[key].metric_name == metric &&
        aws_cloudwatch_metric_alarm.this[key].namespace == "BedrockBatchQueue" &&
        aws_cloudwatch_metric_alarm.this[key].dimensions == tomap({ Queue = "br-batch-inference" }) &&
        aws_cloudwatch_metric_alarm.this[key].statistic == "Sum" &&
        aws_cloudwatch_metric_alarm.this[key].threshold == 0 &&
        aws_cloudwatch_metric_alarm.this[key].treat_missing_data == "notBreaching"
      )
    ])
    error_message = "Any upload that fails or is rejected raises an alarm."
  }

  assert {
    condition = jsonencode({ for query in aws_cloudwatch_metric_alarm.this["failed_records"].metric_query : query.id => concat([query.expression], [for metric in query.metric : "${metric.namespace}/${metric.metric_name} ${metric.dimensions.Queue} ${metric.stat} ${metric.period}"]) }) == jsonencode({
      failed    = [null, "BedrockBatchQueue/RecordsFailed br-batch-inference Sum 3600"]
      succeeded = [null, "BedrockBatchQueue/RecordsSucceeded br-batch-inference Sum 3600"]
      watched   = ["100 * failed / (failed + succeeded)"]
    }) && aws_cloudwatch_metric_alarm.this["failed_records"].threshold == 10 && aws_cloudwatch_metric_alarm.this["failed_records"].comparison_operator == "GreaterThanThreshold"
    error_message = "More than ten percent of an hour's records that fail raise an alarm."
  }
}

run "functions" {
  command = plan

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["dead_letters"].dimensions == tomap({ QueueName = "br-batch-inference-dead-letters-us-east-1" }) && aws_cloudwatch_metric_alarm.this["dead_letters"].threshold == 0
    error_message = "Any dead letter raises an alarm."
  }

  assert {
    condition = alltrue([
      for key, function in aws_lambda_function.this : (
        aws_cloudwatch_metric_alarm.this["${key}_errors"].dimensions == tomap({ FunctionName = function.function_name }) &&
        aws_cloudwatch_metric_alarm.this["${key}_errors"].alarm_name == "${function.function_name}-errors" &&
        aws_cloudwatch_metric_alarm.this["${key}_errors"].threshold == 3
      )
    ])
    error_message = "Each function's errors raise an alarm."
  }

  assert {
    condition = alltrue([
      for key, metric in { dead_letter_errors = "DeadLetterErrors", events_dropped = "AsyncEventsDropped" } : (
        toset(flatten([for query in aws_cloudwatch_metric_alarm.this[key].metric_query : [for one in query.metric : one.dimensions.FunctionName if one.namespace == "AWS/Lambda" && one.metric_name == metric && one.stat == "Sum"]])) ==
        toset([for function in aws_lambda_function.this : function.function_name])
      )
    ])
    error_message = "An event that any function lost, or that Lambda dropped, raises an alarm."
  }

  assert {
    condition     = toset([for query in aws_cloudwatch_metric_alarm.this["events_dropped"].metric_query : query.expression if query.return_data == true]) == toset(["SUM([${join(", ", keys(aws_lambda_function.this))}])"])
    error_message = "The alarm is about the sum."
  }
}

run "rules" {
  command = plan

  assert {
    condition = toset(flatten([for query in aws_cloudwatch_metric_alarm.this["failed_invocations"].metric_query : [for one in query.metric : one.dimensions.RuleName if one.namespace == "AWS/Events" && one.metric_name == "FailedInvocations"]])) == toset([
      for rule in concat([aws_cloudwatch_event_rule.schedule, aws_cloudwatch_event_rule.job_state], aws_cloudwatch_event_rule.sweep) : rule.name
    ])
    error_message = "A rule that cannot invoke its function raises an alarm."
  }

  assert {
    condition = alltrue([
      for key, hours in { schedule = 1, sweep = 48 } : (
        aws_cloudwatch_metric_alarm.this["${key}_stopped"].namespace == "AWS/Events" &&
        aws_cloudwatch_metric_alarm.this["${key}_stopped"].metric_name == "Invocations" &&
        aws_cloudwatch_metric_alarm.this["${key}_stopped"].dimensions == tomap({ RuleName = "br-batch-inference-${key}-us-east-1" }) &&
        aws_cloudwatch_metric_alarm.this["${key}_stopped"].period == 3600 &&
        aws_cloudwatch_metric_alarm.this["${key}_stopped"].evaluation_periods == hours &&
        aws_cloudwatch_metric_alarm.this["${key}_stopped"].treat_missing_data == "missing"
      )
    ])
    error_message = "A rule that has not run for two of its intervals, and an hour at least, is told."
  }
}

run "jobs" {
  command = plan

  variables {
    routes = { bulk = { model_id = "us.amazon.nova-lite-v1:0" }, app = { model_id = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123def456" } }
  }

  assert {
    condition = {
      for route in ["app", "bulk", "default"] : route => toset(flatten([
        for query in aws_cloudwatch_metric_alarm.this["stalled_jobs_${route}"].metric_query :
        [for one in query.metric : "${one.metric_name} ${one.dimensions.ModelId}" if one.namespace == "AWS/Bedrock/Batch"]
      ]))
      } == {
      for route, models in {
        app     = ["abc123def456"]
        bulk    = ["us.amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"]
        default = ["anthropic.claude-haiku-4-5-20251001-v1:0"]
        } : route => toset(flatten([
          for model in models : ["NumberOfRecordsPendingProcessing ${model}", "NumberOfInputTokensProcessedPerMinute ${model}"]
      ]))
    }
    error_message = "Each route's model is watched, by the profile's ID and by the model's."
  }

  assert {
    condition     = toset([for query in aws_cloudwatch_metric_alarm.this["stalled_jobs_bulk"].metric_query : query.expression if query.return_data == true]) == toset(["IF(SUM([pending0, pending1]) > 0 AND SUM([tokens0, zero0, tokens1, zero1]) == 0, 1, 0)"])
    error_message = "A job stalls if records wait and no token is processed."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["stalled_jobs_bulk"].evaluation_periods == 6 && alltrue(flatten([for query in aws_cloudwatch_metric_alarm.this["stalled_jobs_bulk"].metric_query : [for one in query.metric : one.period == 300]]))
    error_message = "For half an hour."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["near_expiry"].metric_name == "ShortestTimeToExpiry" &&
      aws_cloudwatch_metric_alarm.this["near_expiry"].statistic == "Minimum" &&
      aws_cloudwatch_metric_alarm.this["near_expiry"].comparison_operator == "LessThanThreshold" &&
      aws_cloudwatch_metric_alarm.this["near_expiry"].threshold == 7200 &&
      aws_cloudwatch_metric_alarm.this["near_expiry"].period == 3600
    )
    error_message = "A job that expires within two hours raises an alarm."
  }
}

run "thresholds" {
  command = plan

  variables {
    pending_age_alarm_hours      = 2
    failed_records_alarm_percent = 0
    stalled_job_alarm_minutes    = 60
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["oldest_pending"].threshold == 7200
    error_message = "pending_age_alarm_hours is the threshold, in seconds."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["failed_records"].threshold == 0 && aws_cloudwatch_metric_alarm.this["stalled_jobs_default"].evaluation_periods == 12
    error_message = "Share and time are as given."
  }
}

run "fewer" {
  command = plan

  variables {
    failed_records_alarm_percent = null
    stalled_job_alarm_minutes    = null
    sweep_schedule_expression    = null
  }

  assert {
    condition = toset(keys(output.alarms)) == toset([
      "dead_letters", "dead_letter_errors", "events_dropped", "failed_invocations", "oldest_pending", "failed_uploads",
      "rejected_uploads", "near_expiry", "schedule_stopped", "create_batch_queue_errors", "process_batch_jobs_errors",
      "collect_results_errors", "operate_queue_errors", "publish_events_errors",
    ])
    error_message = "There is no alarm for what is null."
  }
}

run "actions" {
  command = plan

  variables {
    alarm_actions = ["arn:aws:sns:us-east-1:123456789012:alarms"]
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_actions == toset(var.alarm_actions) && alarm.ok_actions == toset(var.alarm_actions)])
    error_message = "Every alarm and its end go to alarm_actions."
  }

  assert {
    condition     = alltrue([for key, alarm in aws_cloudwatch_metric_alarm.this : alarm.insufficient_data_actions == toset(var.alarm_actions) if endswith(key, "_stopped")])
    error_message = "That a rule has stopped goes to alarm_actions."
  }
}

run "ok_actions" {
  command = plan

  variables {
    alarm_actions = ["arn:aws:sns:us-east-1:123456789012:alarms"]
    ok_actions    = ["arn:aws:sns:us-east-1:123456789012:ends"]
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_actions == toset(var.alarm_actions) && alarm.ok_actions == toset(var.ok_actions)])
    error_message = "The end of an alarm goes to ok_actions."
  }
}

run "no_ok_actions" {
  command = plan

  variables {
    alarm_actions = ["arn:aws:sns:us-east-1:123456789012:alarms"]
    ok_actions    = []
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : length(alarm.alarm_actions) == 1 && length(alarm.ok_actions) == 0])
    error_message = "With [], nobody is told that an alarm ends."
  }
}

run "schedules_by_rate_and_cron" {
  command = plan

  variables {
    schedule_expression       = "rate(6 hours)"
    sweep_schedule_expression = "cron(0 3 * * ? *)"
  }

  assert {
    condition     = { for key, alarm in aws_cloudwatch_metric_alarm.this : key => alarm.evaluation_periods if endswith(key, "_stopped") } == { schedule_stopped = 12, sweep_stopped = 48 }
    error_message = "The alarm waits for two intervals of a rate, and for two days with a daily cron expression."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["near_expiry"].period == 43200
    error_message = "At least one run is within each period of the alarm about jobs that expire."
  }
}

run "rare_schedules" {
  command = plan

  variables {
    schedule_expression       = "rate(4 days)"
    sweep_schedule_expression = "cron(0 3 ? * MON-FRI *)"
  }

  assert {
    condition     = length([for key, alarm in aws_cloudwatch_metric_alarm.this : key if endswith(key, "_stopped")]) == 0
    error_message = "A rule that can pause for longer than an alarm looks back has none."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["near_expiry"].period == 86400
    error_message = "CloudWatch takes periods of a day at most."
  }
}

run "earlier_version" {
  state_key = "upgrade"

  module {
    source = "./tests/terraform/earlier_alarms"
  }
}

run "upgrade" {
  command   = plan
  state_key = "upgrade"

  assert {
    condition = run.earlier_version.arns == {
      for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name => alarm.arn
      if contains(keys(run.earlier_version.arns), alarm.alarm_name)
    }
    error_message = "An upgrade moves each alarm. What it destroyed and created anew would have another ARN."
  }

  assert {
    condition     = length(distinct(values(run.earlier_version.arns))) == 9
    error_message = "Each alarm of the earlier version has an ARN of its own."
  }
}
