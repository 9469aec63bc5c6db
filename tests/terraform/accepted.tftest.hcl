# Inputs of every accepted form are accepted.

mock_provider "aws" {
  source          = "./tests/terraform/mocks"
  override_during = plan
}

variables {
  model_id = "anthropic.claude-haiku-4-5-20251001-v1:0"
}

run "foundation_model" {
  command = plan

  variables {
    model_id = "anthropic.claude-haiku-4-5-20251001-v1:0"
  }

  assert {
    condition     = jsondecode(aws_dynamodb_table_item.route["default"].item).model_id.S == var.model_id
    error_message = "The route has the model as it was given."
  }

  assert {
    condition = one([
      for statement in data.aws_iam_policy_document.role["process_batch_jobs"].statement : toset(statement.resources) if statement.sid == "CreateJobs"
      ]) == toset([
      "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/*",
      "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
    ])
    error_message = "Jobs may be created for this model only, and for what a profile of it routes to."
  }

  assert {
    condition = [
      for statement in data.aws_iam_policy_document.role["bedrock"].statement : toset(statement.resources) if statement.sid == "InvokeThroughInferenceProfiles"
    ] == []
    error_message = "Bedrock's jobs may invoke models only where an inference profile needs it."
  }
}

run "inference_profile" {
  command = plan

  variables {
    model_id = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
  }

  assert {
    condition     = jsondecode(aws_dynamodb_table_item.route["default"].item).model_id.S == var.model_id
    error_message = "The route has the model as it was given."
  }

  assert {
    condition = one([
      for statement in data.aws_iam_policy_document.role["process_batch_jobs"].statement : toset(statement.resources) if statement.sid == "CreateJobs"
      ]) == toset([
      "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/*",
      "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0",
      "arn:aws:bedrock:*::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
    ])
    error_message = "Jobs may be created for this model only, and for what a profile of it routes to."
  }

  assert {
    condition = [
      for statement in data.aws_iam_policy_document.role["bedrock"].statement : toset(statement.resources) if statement.sid == "InvokeThroughInferenceProfiles"
    ] == [toset(["arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0", "arn:aws:bedrock:*::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0"])]
    error_message = "Bedrock's jobs may invoke models only where an inference profile needs it."
  }
}

run "foundation_model_with_context_length" {
  command = plan

  variables {
    model_id = "anthropic.claude-3-sonnet-20240229-v1:0:28k"
  }

  assert {
    condition     = jsondecode(aws_dynamodb_table_item.route["default"].item).model_id.S == var.model_id
    error_message = "The route has the model as it was given."
  }

  assert {
    condition = one([
      for statement in data.aws_iam_policy_document.role["process_batch_jobs"].statement : toset(statement.resources) if statement.sid == "CreateJobs"
      ]) == toset([
      "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/*",
      "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-sonnet-20240229-v1:0:28k",
    ])
    error_message = "Jobs may be created for this model only, and for what a profile of it routes to."
  }

  assert {
    condition = [
      for statement in data.aws_iam_policy_document.role["bedrock"].statement : toset(statement.resources) if statement.sid == "InvokeThroughInferenceProfiles"
    ] == []
    error_message = "Bedrock's jobs may invoke models only where an inference profile needs it."
  }
}

run "foundation_model_with_dot_in_version" {
  command = plan

  variables {
    model_id = "zai.glm-4.7"
  }

  assert {
    condition     = jsondecode(aws_dynamodb_table_item.route["default"].item).model_id.S == var.model_id
    error_message = "The route has the model as it was given."
  }

  assert {
    condition = one([
      for statement in data.aws_iam_policy_document.role["process_batch_jobs"].statement : toset(statement.resources) if statement.sid == "CreateJobs"
      ]) == toset([
      "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/*",
      "arn:aws:bedrock:us-east-1::foundation-model/zai.glm-4.7",
    ])
    error_message = "Jobs may be created for this model only, and for what a profile of it routes to."
  }

  assert {
    condition = [
      for statement in data.aws_iam_policy_document.role["bedrock"].statement : toset(statement.resources) if statement.sid == "InvokeThroughInferenceProfiles"
    ] == []
    error_message = "Bedrock's jobs may invoke models only where an inference profile needs it."
  }
}

run "foundation_model_arn" {
  command = plan

  variables {
    model_id = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"
  }

  assert {
    condition     = jsondecode(aws_dynamodb_table_item.route["default"].item).model_id.S == var.model_id
    error_message = "The route has the model as it was given."
  }

  assert {
    condition = one([
      for statement in data.aws_iam_policy_document.role["process_batch_jobs"].statement : toset(statement.resources) if statement.sid == "CreateJobs"
      ]) == toset([
      "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/*",
      "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
    ])
    error_message = "Jobs may be created for this model only, and for what a profile of it routes to."
  }

  assert {
    condition = [
      for statement in data.aws_iam_policy_document.role["bedrock"].statement : toset(statement.resources) if statement.sid == "InvokeThroughInferenceProfiles"
    ] == []
    error_message = "Bedrock's jobs may invoke models only where an inference profile needs it."
  }
}

run "inference_profile_arn" {
  command = plan

  variables {
    model_id = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0"
  }

  assert {
    condition     = jsondecode(aws_dynamodb_table_item.route["default"].item).model_id.S == var.model_id
    error_message = "The route has the model as it was given."
  }

  assert {
    condition = one([
      for statement in data.aws_iam_policy_document.role["process_batch_jobs"].statement : toset(statement.resources) if statement.sid == "CreateJobs"
      ]) == toset([
      "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/*",
      "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0",
      "arn:aws:bedrock:*::foundation-model/amazon.nova-lite-v1:0",
    ])
    error_message = "Jobs may be created for this model only, and for what a profile of it routes to."
  }

  assert {
    condition = [
      for statement in data.aws_iam_policy_document.role["bedrock"].statement : toset(statement.resources) if statement.sid == "InvokeThroughInferenceProfiles"
    ] == [toset(["arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0", "arn:aws:bedrock:*::foundation-model/amazon.nova-lite-v1:0"])]
    error_message = "Bedrock's jobs may invoke models only where an inference profile needs it."
  }
}

run "application_inference_profile_arn" {
  command = plan

  override_data {
    target = data.aws_partition.current
    values = { partition = "aws-us-gov" }
  }

  override_data {
    target = data.aws_region.current
    values = { id = "us-gov-west-1" }
  }

  variables {
    model_id                = "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:application-inference-profile/abc123def456"
    manage_recursion_config = false
  }

  assert {
    condition     = jsondecode(aws_dynamodb_table_item.route["default"].item).model_id.S == var.model_id
    error_message = "The route has the model as it was given."
  }

  assert {
    condition = one([
      for statement in data.aws_iam_policy_document.role["process_batch_jobs"].statement : toset(statement.resources) if statement.sid == "CreateJobs"
      ]) == toset([
      "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:model-invocation-job/*",
      "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:application-inference-profile/abc123def456",
      "arn:aws-us-gov:bedrock:*::foundation-model/*",
    ])
    error_message = "Jobs may be created for this model only, and for what a profile of it routes to."
  }

  assert {
    condition = [
      for statement in data.aws_iam_policy_document.role["bedrock"].statement : toset(statement.resources) if statement.sid == "InvokeThroughInferenceProfiles"
    ] == [toset(["arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:application-inference-profile/abc123def456", "arn:aws-us-gov:bedrock:*::foundation-model/*"])]
    error_message = "Bedrock's jobs may invoke models only where an inference profile needs it."
  }
}

run "custom_model_arn" {
  command = plan

  variables {
    model_id = "arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-lite-v1:0:300k/abc123def456"
  }

  assert {
    condition     = jsondecode(aws_dynamodb_table_item.route["default"].item).model_id.S == var.model_id
    error_message = "The route has the model as it was given."
  }

  assert {
    condition = one([
      for statement in data.aws_iam_policy_document.role["process_batch_jobs"].statement : toset(statement.resources) if statement.sid == "CreateJobs"
      ]) == toset([
      "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/*",
      "arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-lite-v1:0:300k/abc123def456",
    ])
    error_message = "Jobs may be created for this model only, and for what a profile of it routes to."
  }

  assert {
    condition = [
      for statement in data.aws_iam_policy_document.role["bedrock"].statement : toset(statement.resources) if statement.sid == "InvokeThroughInferenceProfiles"
    ] == []
    error_message = "Bedrock's jobs may invoke models only where an inference profile needs it."
  }
}

run "rate_of_one" {
  command = plan

  variables {
    schedule_expression = "rate(1 minute)"
  }

  assert {
    condition     = aws_cloudwatch_event_rule.schedule.schedule_expression == var.schedule_expression
    error_message = "The rule has the schedule as it was given."
  }
}

run "rate_of_several" {
  command = plan

  variables {
    schedule_expression = "rate(2 hours)"
  }

  assert {
    condition     = aws_cloudwatch_event_rule.schedule.schedule_expression == var.schedule_expression
    error_message = "The rule has the schedule as it was given."
  }
}

run "sweep_every_night" {
  command = plan

  variables {
    sweep_schedule_expression = "cron(0 3 * * ? *)"
  }

  assert {
    condition     = aws_cloudwatch_event_rule.sweep[0].schedule_expression == var.sweep_schedule_expression
    error_message = "The rule has the schedule as it was given."
  }
}

run "sweep_twice_a_day" {
  command = plan

  variables {
    sweep_schedule_expression = "rate(12 hours)"
  }

  assert {
    condition     = aws_cloudwatch_event_rule.sweep[0].schedule_expression == var.sweep_schedule_expression
    error_message = "The rule has the schedule as it was given."
  }
}

run "cron_every_quarter_of_an_hour" {
  command = plan

  variables {
    schedule_expression = "cron(0/15 * * * ? *)"
  }

  assert {
    condition     = aws_cloudwatch_event_rule.schedule.schedule_expression == var.schedule_expression
    error_message = "The rule has the schedule as it was given."
  }
}

run "cron_by_day_of_the_week" {
  command = plan

  variables {
    schedule_expression = "cron(0 10 ? * MON-FRI *)"
  }

  assert {
    condition     = aws_cloudwatch_event_rule.schedule.schedule_expression == var.schedule_expression
    error_message = "The rule has the schedule as it was given."
  }
}

run "cron_by_day_of_the_month" {
  command = plan

  variables {
    schedule_expression = "cron(0 8 1 * ? *)"
  }

  assert {
    condition     = aws_cloudwatch_event_rule.schedule.schedule_expression == var.schedule_expression
    error_message = "The rule has the schedule as it was given."
  }
}

run "cron_on_the_last_day" {
  command = plan

  variables {
    schedule_expression = "cron(30 6 L * ? 2026)"
  }

  assert {
    condition     = aws_cloudwatch_event_rule.schedule.schedule_expression == var.schedule_expression
    error_message = "The rule has the schedule as it was given."
  }
}

run "shortest_name" {
  command = plan

  variables {
    name = "abc"
  }

  # Lambda, IAM and EventBridge allow 64 characters in a name, S3 and Bedrock's jobs 63 (32 of them the id).
  assert {
    condition = alltrue(concat(
      [for function in aws_lambda_function.this : length(replace(function.function_name, "us-east-1", "ap-southeast-1")) <= 64],
      [for role in aws_iam_role.function : length(replace(role.name, "us-east-1", "ap-southeast-1")) <= 64],
      [length(replace(aws_s3_bucket.this[0].bucket, "us-east-1", "ap-southeast-1")) <= 63],
      [length(var.name) + 1 + 32 <= 63],
    ))
    error_message = "Every name fits, also in the Region with the longest name."
  }
}

run "name_with_hyphens_and_digits" {
  command = plan

  variables {
    name = "a1-b2-c3"
  }

  # Lambda, IAM and EventBridge allow 64 characters in a name, S3 and Bedrock's jobs 63 (32 of them the id).
  assert {
    condition = alltrue(concat(
      [for function in aws_lambda_function.this : length(replace(function.function_name, "us-east-1", "ap-southeast-1")) <= 64],
      [for role in aws_iam_role.function : length(replace(role.name, "us-east-1", "ap-southeast-1")) <= 64],
      [length(replace(aws_s3_bucket.this[0].bucket, "us-east-1", "ap-southeast-1")) <= 63],
      [length(var.name) + 1 + 32 <= 63],
    ))
    error_message = "Every name fits, also in the Region with the longest name."
  }
}

run "longest_name" {
  command = plan

  variables {
    name = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
  }

  # Lambda, IAM and EventBridge allow 64 characters in a name, S3 and Bedrock's jobs 63 (32 of them the id).
  assert {
    condition = alltrue(concat(
      [for function in aws_lambda_function.this : length(replace(function.function_name, "us-east-1", "ap-southeast-1")) <= 64],
      [for role in aws_iam_role.function : length(replace(role.name, "us-east-1", "ap-southeast-1")) <= 64],
      [length(replace(aws_s3_bucket.this[0].bucket, "us-east-1", "ap-southeast-1")) <= 63],
      [length(var.name) + 1 + 32 <= 63],
    ))
    error_message = "Every name fits, also in the Region with the longest name."
  }
}
