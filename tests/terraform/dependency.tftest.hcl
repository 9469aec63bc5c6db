# Given a queue that depends on something else, a change pending there leaves what the queue's resources are named by
# known. What is named by something unknown is replaced.

mock_provider "aws" {
  source = "./tests/terraform/mocks"
}

run "applied" {
  module {
    source = "./tests/terraform/dependency"
  }

  variables {
    setting = "first"
  }

  assert {
    condition     = output.queue.bucket_name == "br-batch-inference-123456789012-us-east-1"
    error_message = "The names have the account and the Region, although they were unknown when the apply was planned."
  }
}

run "change_pending" {
  command = plan

  module {
    source = "./tests/terraform/dependency"
  }

  variables {
    setting = "second"
  }

  assert {
    condition     = output.queue.bucket_name == run.applied.queue.bucket_name && output.queue.dead_letter_queue.name == run.applied.queue.dead_letter_queue.name
    error_message = "Bucket and dead-letter queue keep their names."
  }

  assert {
    condition = {
      for kind in ["functions", "roles", "rules", "log_groups", "alarms"] :
      kind => { for key, thing in output.queue[kind] : key => thing.name }
      } == {
      for kind in ["functions", "roles", "rules", "log_groups", "alarms"] :
      kind => { for key, thing in run.applied.queue[kind] : key => thing.name }
    }
    error_message = "Functions, roles, rules, log groups and alarms keep their names."
  }
}
