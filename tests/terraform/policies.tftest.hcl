# Given models as different as inference profiles can be, a plan with the real policies, which need no AWS, says how many
# are too many for IAM: before anything is created.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  model_id = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
}

run "as_many_models_as_fit" {
  command = plan

  variables {
    routes = { for number in range(10, 50) : "route-${number}" => { model_id = "us.anthropic.claude-haiku-4-5-20251001-v${number}:0" } }
  }

  assert {
    condition = local.policy_sizes.process_batch_jobs == sum([
      for policy in [aws_iam_role_policy.process_batch_jobs.policy, aws_iam_role_policy.function_runtime["process_batch_jobs"].policy] :
      length(replace(policy, "/\\s/", ""))
    ])
    error_message = "What is measured is what IAM counts."
  }

  assert {
    condition     = local.policy_sizes.process_batch_jobs > 10000
    error_message = "There is room for little more."
  }
}

run "one_model_too_many" {
  command = plan

  variables {
    routes = { for number in range(10, 51) : "route-${number}" => { model_id = "us.anthropic.claude-haiku-4-5-20251001-v${number}:0" } }
  }

  expect_failures = [aws_iam_role_policy.process_batch_jobs]
}

run "routes_that_share_models" {
  command = plan

  variables {
    # The alarm of each route has no part in the policies, and a thousand of them take most of the plan.
    stalled_job_alarm_minutes = null

    routes = { for number in range(1000) : "route-${number}" => { model_id = "us.anthropic.claude-haiku-4-5-20251001-v1:0" } }
  }

  assert {
    condition     = length(aws_dynamodb_table_item.route) == 1001 && local.policy_sizes.process_batch_jobs < 3000
    error_message = "A model counts once."
  }
}

run "too_many_models_on_demand" {
  command = plan

  variables {
    routes = { for number in range(10, 60) : "route-${number}" => { model_id = "us.anthropic.claude-haiku-4-5-20251001-v${number}:0", undersized = "on_demand" } }
  }

  expect_failures = [aws_iam_role_policy.collect_results, aws_iam_role_policy.process_batch_jobs]
}

run "too_many_models_in_a_vpc" {
  command = plan

  variables {
    routes  = { for number in range(10, 50) : "route-${number}" => { model_id = "us.anthropic.claude-haiku-4-5-20251001-v${number}:0" } }
    job_vpc = { subnet_ids = [for number in range(16) : format("subnet-%017d", number)], security_group_ids = ["sg-1"] }
  }

  expect_failures = [aws_iam_role_policy.bedrock]
}
