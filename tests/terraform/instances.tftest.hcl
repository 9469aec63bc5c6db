# Given two queues in one account and Region, nothing of theirs has the same name.

mock_provider "aws" {
  source          = "./tests/terraform/mocks"
  override_during = plan
}

variables {
  model_id = "anthropic.claude-haiku-4-5-20251001-v1:0"
}

run "first" {
  command = plan

  variables {
    name = "first"
  }
}

run "second" {
  command = plan

  variables {
    name = "second"
  }

  assert {
    condition     = output.bucket_name != run.first.bucket_name && output.table_name != run.first.table_name && output.dead_letter_queue.name != run.first.dead_letter_queue.name
    error_message = "Bucket, table and dead-letter queue are not shared."
  }

  assert {
    condition = alltrue([
      for pair in [
        [output.functions, run.first.functions], [output.roles, run.first.roles], [output.rules, run.first.rules],
        [output.log_groups, run.first.log_groups], [output.alarms, run.first.alarms],
      ] : length(setintersection([for thing in values(pair[0]) : thing.name], [for thing in values(pair[1]) : thing.name])) == 0
    ])
    error_message = "Functions, roles, rules, log groups and alarms have names of their own."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.job_state.event_pattern).detail.batchJobName == [{ prefix = "second-" }]
    error_message = "A queue is woken by its own jobs only."
  }
}
