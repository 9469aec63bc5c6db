# Given a wrong input, the plan fails with that input's own message.

mock_provider "aws" {
  source          = "./tests/terraform/mocks"
  override_during = plan
}

variables {
  model_id = "anthropic.claude-3-5-haiku-20241022-v1:0"
}

run "name_too_long" {
  command = plan

  variables {
    name = "br-batch-inference-of-the-analytics-team"
  }

  expect_failures = [var.name]
}

run "name_too_short" {
  command = plan

  variables {
    name = "br"
  }

  expect_failures = [var.name]
}

run "name_with_upper_case" {
  command = plan

  variables {
    name = "Batch"
  }

  expect_failures = [var.name]
}

run "name_with_double_hyphen" {
  command = plan

  variables {
    name = "batch--queue"
  }

  expect_failures = [var.name]
}

run "name_with_hyphen_at_the_end" {
  command = plan

  variables {
    name = "batch-"
  }

  expect_failures = [var.name]
}

run "name_with_underscore" {
  command = plan

  variables {
    name = "batch_queue"
  }

  expect_failures = [var.name]
}

run "sweep_by_a_word" {
  command = plan

  variables {
    sweep_schedule_expression = "daily"
  }

  expect_failures = [var.sweep_schedule_expression]
}

run "sweep_with_plural_unit" {
  command = plan

  variables {
    sweep_schedule_expression = "rate(1 days)"
  }

  expect_failures = [var.sweep_schedule_expression]
}

run "sweep_with_five_fields" {
  command = plan

  variables {
    sweep_schedule_expression = "cron(0 3 * * *)"
  }

  expect_failures = [var.sweep_schedule_expression]
}

run "sweep_by_an_empty_schedule" {
  command = plan

  variables {
    sweep_schedule_expression = ""
  }

  expect_failures = [var.sweep_schedule_expression]
}

run "schedule_without_unit" {
  command = plan

  variables {
    schedule_expression = "15 minutes"
  }

  expect_failures = [var.schedule_expression]
}

run "schedule_with_singular_unit" {
  command = plan

  variables {
    schedule_expression = "rate(15 minute)"
  }

  expect_failures = [var.schedule_expression]
}

run "schedule_with_plural_unit" {
  command = plan

  variables {
    schedule_expression = "rate(1 minutes)"
  }

  expect_failures = [var.schedule_expression]
}

run "schedule_in_seconds" {
  command = plan

  variables {
    schedule_expression = "rate(30 seconds)"
  }

  expect_failures = [var.schedule_expression]
}

run "schedule_with_five_fields" {
  command = plan

  variables {
    schedule_expression = "cron(0/15 * * * *)"
  }

  expect_failures = [var.schedule_expression]
}

run "schedule_with_both_days" {
  command = plan

  variables {
    schedule_expression = "cron(0 12 * * * *)"
  }

  expect_failures = [var.schedule_expression]
}

run "model_unknown_form" {
  command = plan

  variables {
    model_id = "claude"
  }

  expect_failures = [var.model_id]
}

run "model_provisioned" {
  command = plan

  variables {
    model_id = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc123def456"
  }

  expect_failures = [var.model_id]
}

run "model_of_another_service" {
  command = plan

  variables {
    model_id = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/my-model"
  }

  expect_failures = [var.model_id]
}

run "route_without_model" {
  command = plan

  variables {
    routes = { summaries = { priority = 10 } }
  }

  expect_failures = [var.routes]
}

run "route_with_null_model" {
  command = plan

  variables {
    routes = { summaries = { model_id = null } }
  }

  expect_failures = [var.routes]
}

run "route_with_provisioned_model" {
  command = plan

  variables {
    routes = { summaries = { model_id = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc123def456" } }
  }

  expect_failures = [var.routes]
}

run "route_with_unknown_model_form" {
  command = plan

  variables {
    routes = { summaries = { model_id = "claude haiku" } }
  }

  expect_failures = [var.routes]
}

run "route_with_unknown_invocation_type" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", invocation_type = "converse" } }
  }

  expect_failures = [var.routes]
}

run "route_with_path_as_name" {
  command = plan

  variables {
    routes = { "a/b" = { model_id = "amazon.nova-lite-v1:0" } }
  }

  expect_failures = [var.routes]
}

run "route_with_dots_as_name" {
  command = plan

  variables {
    routes = { ".." = { model_id = "amazon.nova-lite-v1:0" } }
  }

  expect_failures = [var.routes]
}

run "route_with_empty_name" {
  command = plan

  variables {
    routes = { "" = { model_id = "amazon.nova-lite-v1:0" } }
  }

  expect_failures = [var.routes]
}

run "route_without_slots" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", max_active_jobs = 0 } }
  }

  expect_failures = [var.routes]
}

run "route_with_half_a_slot" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", max_active_jobs = 1.5 } }
  }

  expect_failures = [var.routes]
}

run "route_with_priority_above_100" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", priority = 101 } }
  }

  expect_failures = [var.routes]
}

run "route_with_priority_below_0" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", priority = -1 } }
  }

  expect_failures = [var.routes]
}

run "route_with_short_timeout" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", timeout_hours = 23 } }
  }

  expect_failures = [var.routes]
}

run "route_with_long_timeout" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", timeout_hours = 169 } }
  }

  expect_failures = [var.routes]
}

run "route_with_tag_that_bedrock_refuses" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", tags = { Team = "R&D" } } }
  }

  expect_failures = [var.routes]
}

run "route_with_name_as_quota_code" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", quota_code = "batch inference jobs" } }
  }

  expect_failures = [var.routes]
}

run "route_with_quota_code_in_lower_case" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", quota_code = "l-1a2b3c4d" } }
  }

  expect_failures = [var.routes]
}

run "route_with_quota_and_number" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", quota_code = "L-1A2B3C4D", max_active_jobs = 5 } }
  }

  expect_failures = [var.routes]
}

run "route_with_every_slot_reserved" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", max_active_jobs = 3, reserved_slots = 3 } }
  }

  expect_failures = [var.routes]
}

run "route_with_every_slot_of_the_module_reserved" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", reserved_slots = 10 } }
  }

  expect_failures = [var.routes]
}

run "route_with_negative_reserve" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", reserved_slots = -1 } }
  }

  expect_failures = [var.routes]
}

run "route_with_half_a_slot_reserved" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", reserved_slots = 0.5 } }
  }

  expect_failures = [var.routes]
}

run "route_with_minimum_of_no_records" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", min_records_per_job = 0 } }
  }

  expect_failures = [var.routes]
}

run "route_with_fraction_of_records_in_a_job" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", max_records_per_job = 1000.5 } }
  }

  expect_failures = [var.routes]
}

run "route_with_files_of_no_records" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", max_records_per_file = 0 } }
  }

  expect_failures = [var.routes]
}

run "route_with_minimum_above_maximum" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", min_records_per_job = 500, max_records_per_job = 499 } }
  }

  expect_failures = [var.routes]
}

run "route_with_maximum_below_the_usual_minimum" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", max_records_per_job = 50 } }
  }

  expect_failures = [var.routes]
}

run "route_with_bytes_of_a_file_in_gigabytes" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", max_bytes_per_file = 1 } }
  }

  expect_failures = [var.routes]
}

run "route_with_bytes_of_a_job_in_gigabytes" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", max_bytes_per_job = 5 } }
  }

  expect_failures = [var.routes]
}

run "route_with_fraction_of_a_byte" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", max_bytes_per_file = 1000.5 } }
  }

  expect_failures = [var.routes]
}

run "route_with_negative_wait" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", pack_wait_minutes = -1 } }
  }

  expect_failures = [var.routes]
}

run "route_with_wait_of_more_than_a_day" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", pack_wait_minutes = 1441 } }
  }

  expect_failures = [var.routes]
}

run "route_with_wait_of_half_a_minute" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", pack_wait_minutes = 0.5 } }
  }

  expect_failures = [var.routes]
}

run "route_with_unknown_way_for_undersized" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", undersized = "drop" } }
  }

  expect_failures = [var.routes]
}

run "route_with_custom_model_on_demand" {
  command = plan

  variables {
    routes = { summaries = { model_id = "arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-lite-v1:0:300k/abc123def456", undersized = "on_demand" } }
  }

  expect_failures = [var.routes]
}

run "route_with_no_attempt" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", max_record_attempts = 0 } }
  }

  expect_failures = [var.routes]
}

run "route_with_eleven_attempts" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", max_record_attempts = 11 } }
  }

  expect_failures = [var.routes]
}

run "route_with_half_an_attempt" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", max_record_attempts = 1.5 } }
  }

  expect_failures = [var.routes]
}

run "route_with_negative_price" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", prices = { input_per_million_tokens = 0.4, output_per_million_tokens = -2 } } }
  }

  expect_failures = [var.routes]
}

run "route_with_price_of_null" {
  command = plan

  variables {
    routes = { summaries = { model_id = "amazon.nova-lite-v1:0", prices = { input_per_million_tokens = null, output_per_million_tokens = 2 } } }
  }

  expect_failures = [var.routes]
}

run "custom_model_on_demand_by_default" {
  command = plan

  variables {
    model_id = "arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-lite-v1:0:300k/abc123def456"
    routes   = { default = { undersized = "on_demand" } }
  }

  expect_failures = [var.routes]
}

run "max_active_jobs_zero" {
  command = plan

  variables {
    max_active_jobs = 0
  }

  expect_failures = [var.max_active_jobs]
}

run "max_active_jobs_fraction" {
  command = plan

  variables {
    max_active_jobs = 2.5
  }

  expect_failures = [var.max_active_jobs]
}

run "tag_that_bedrock_refuses" {
  command = plan

  variables {
    tags = { Team = "R&D" }
  }

  expect_failures = [var.tags]
}

run "tag_with_reserved_key" {
  command = plan

  variables {
    tags = { "aws:team" = "a" }
  }

  expect_failures = [var.tags]
}

run "bucket_name_uri" {
  command = plan

  variables {
    bucket_name = "s3://my-bucket"
  }

  expect_failures = [var.bucket_name]
}

run "bucket_name_upper_case" {
  command = plan

  variables {
    bucket_name = "My-Bucket"
  }

  expect_failures = [var.bucket_name]
}

run "existing_bucket_without_name" {
  command = plan

  variables {
    create_bucket = false
  }

  expect_failures = [data.aws_s3_bucket.existing]
}

run "input_prefix_without_slash" {
  command = plan

  variables {
    input_prefix = "to-process"
  }

  expect_failures = [var.input_prefix]
}

run "input_prefix_with_leading_slash" {
  command = plan

  variables {
    input_prefix = "/to-process/"
  }

  expect_failures = [var.input_prefix]
}

run "input_prefix_empty" {
  command = plan

  variables {
    input_prefix = ""
  }

  expect_failures = [var.input_prefix]
}

run "input_prefix_with_wildcard" {
  command = plan

  variables {
    input_prefix = "to-*/"
  }

  expect_failures = [var.input_prefix]
}

run "output_prefix_without_slash" {
  command = plan

  variables {
    output_prefix = "processed"
  }

  expect_failures = [var.output_prefix]
}

run "prefixes_equal" {
  command = plan

  variables {
    input_prefix  = "files/"
    output_prefix = "files/"
  }

  expect_failures = [var.output_prefix]
}

run "output_within_input" {
  command = plan

  variables {
    output_prefix = "to-process/done/"
  }

  expect_failures = [var.output_prefix]
}

run "input_within_output" {
  command = plan

  variables {
    input_prefix = "processed/new/"
  }

  expect_failures = [var.output_prefix]
}

run "input_within_work_area" {
  command = plan

  variables {
    input_prefix = "jobs/in/"
  }

  expect_failures = [var.output_prefix]
}

run "output_is_work_area" {
  command = plan

  variables {
    output_prefix = "jobs/"
  }

  expect_failures = [var.output_prefix]
}

run "work_retention_shorter_than_a_job" {
  command = plan

  variables {
    work_retention_days = 7
  }

  expect_failures = [var.work_retention_days]
}

run "role_name_for_arn" {
  command = plan

  variables {
    role_arn = "my-bedrock-role"
  }

  expect_failures = [var.role_arn]
}

run "role_of_user" {
  command = plan

  variables {
    role_arn = "arn:aws:iam::123456789012:user/me"
  }

  expect_failures = [var.role_arn]
}

run "boundary_name_for_arn" {
  command = plan

  variables {
    permissions_boundary = "my-boundary"
  }

  expect_failures = [var.permissions_boundary]
}

run "role_path_without_slash" {
  command = plan

  variables {
    role_path = "team"
  }

  expect_failures = [var.role_path]
}

run "kms_alias" {
  command = plan

  variables {
    kms_key_arn = "alias/my-key"
  }

  expect_failures = [var.kms_key_arn]
}

run "kms_key_id" {
  command = plan

  variables {
    kms_key_arn = "1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  expect_failures = [var.kms_key_arn]
}

run "vpc_without_subnets" {
  command = plan

  variables {
    vpc = { subnet_ids = [], security_group_ids = ["sg-0123456789abcdef0"] }
  }

  expect_failures = [var.vpc]
}

run "vpc_without_security_groups" {
  command = plan

  variables {
    vpc = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = [] }
  }

  expect_failures = [var.vpc]
}

run "vpc_with_ids_mixed_up" {
  command = plan

  variables {
    vpc = { subnet_ids = ["sg-0123456789abcdef0"], security_group_ids = ["sg-0123456789abcdef0"] }
  }

  expect_failures = [var.vpc]
}

run "job_vpc_with_17_subnets" {
  command = plan

  variables {
    job_vpc = { subnet_ids = [for i in range(17) : "subnet-${i}"], security_group_ids = ["sg-0123456789abcdef0"] }
  }

  expect_failures = [var.job_vpc]
}

run "job_vpc_with_6_security_groups" {
  command = plan

  variables {
    job_vpc = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = [for i in range(6) : "sg-${i}"] }
  }

  expect_failures = [var.job_vpc]
}

run "job_vpc_without_subnets" {
  command = plan

  variables {
    job_vpc = { subnet_ids = [], security_group_ids = ["sg-0123456789abcdef0"] }
  }

  expect_failures = [var.job_vpc]
}

run "runtime_of_another_language" {
  command = plan

  variables {
    lambda_runtime = "nodejs22.x"
  }

  expect_failures = [var.lambda_runtime]
}

run "runtime_too_old" {
  command = plan

  variables {
    lambda_runtime = "python3.9"
  }

  expect_failures = [var.lambda_runtime]
}

run "memory_too_small" {
  command = plan

  variables {
    lambda_memory_size = 128
  }

  expect_failures = [var.lambda_memory_size]
}

run "memory_too_large" {
  command = plan

  variables {
    lambda_memory_size = 20480
  }

  expect_failures = [var.lambda_memory_size]
}

run "environment_of_the_module" {
  command = plan

  variables {
    lambda_environment = { TABLE = "another" }
  }

  expect_failures = [var.lambda_environment]
}

run "environment_with_hyphen" {
  command = plan

  variables {
    lambda_environment = { "MY-KEY" = "a" }
  }

  expect_failures = [var.lambda_environment]
}

run "layer_without_version" {
  command = plan

  variables {
    lambda_layers = ["arn:aws:lambda:us-east-1:123456789012:layer:boto3"]
  }

  expect_failures = [var.lambda_layers]
}

run "six_layers" {
  command = plan

  variables {
    lambda_layers = [for i in range(6) : "arn:aws:lambda:us-east-1:123456789012:layer:l${i}:1"]
  }

  expect_failures = [var.lambda_layers]
}

run "log_retention_not_offered" {
  command = plan

  variables {
    log_retention_days = 100
  }

  expect_failures = [var.log_retention_days]
}

run "alarm_action_name_for_arn" {
  command = plan

  variables {
    alarm_actions = ["my-topic"]
  }

  expect_failures = [var.alarm_actions]
}

run "pending_age_zero" {
  command = plan

  variables {
    pending_age_alarm_hours = 0
  }

  expect_failures = [var.pending_age_alarm_hours]
}
