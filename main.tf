# The pipeline at a glance: five functions and what triggers each of them.
#
#   an upload to to-process/ ── S3 notification (bucket.tf) ──▶ create_batch_queue
#   an upload whose notification was lost ── the daily sweep ─▶ create_batch_queue
#   a new upload, the schedule, a job that changed its state ─▶ process_batch_jobs
#   a job that ended ── process_batch_jobs ───────────────────▶ collect_results
#   records to run again ── collect_results ──────────────────▶ process_batch_jobs
#   an order to cancel, retry, pause, sweep, explain, check … ─▶ operate_queue
#   an upload or a job begins or ends ── table (events.tf) ───▶ publish_events
#
# Work that takes longer than one invocation continues in the next: each function but publish_events invokes itself.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  current = {
    account_id = data.aws_caller_identity.current.account_id
    partition  = data.aws_partition.current.partition
    region     = data.aws_region.current.id
  }

  account_id = terraform_data.location.input.account_id
  partition  = terraform_data.location.input.partition
  region     = terraform_data.location.input.region

  # "Supported Regions for Lambda recursive loop detection" in the Lambda Developer Guide: the commercial Regions (the
  # partition aws) without these.
  loop_detection = local.current.partition == "aws" && !contains(["ap-southeast-6", "mx-central-1"], local.current.region)

  # Identifies the queue of every resource and every Bedrock job, also on the bill.
  tags = merge({ Queue = var.name }, var.tags)

  package = "${path.module}/dist/lambdas.zip"

  functions = {
    create_batch_queue = {
      name        = "${var.name}-create-batch-queue-${local.region}"
      description = "Validates each new upload and puts it into the queue ${var.name}."
      timeout     = 900
      environment = {
        PROCESS_FUNCTION = "${var.name}-process-batch-jobs-${local.region}"
      }
    }
    process_batch_jobs = {
      name        = "${var.name}-process-batch-jobs-${local.region}"
      description = "Looks after the Bedrock jobs of the queue ${var.name} and starts what fits the quota."
      timeout     = 300
      environment = {
        COLLECT_FUNCTION = "${var.name}-collect-results-${local.region}"
        OPERATE_FUNCTION = "${var.name}-operate-queue-${local.region}"
        ROLE_ARN         = local.bedrock_role_arn
        JOB_VPC = var.job_vpc == null ? "" : jsonencode({
          subnetIds        = var.job_vpc.subnet_ids
          securityGroupIds = var.job_vpc.security_group_ids
        })
      }
    }
    collect_results = {
      name        = "${var.name}-collect-results-${local.region}"
      description = "Puts the results of finished Bedrock jobs of the queue ${var.name} beside their uploads."
      timeout     = 900
      environment = {
        PROCESS_FUNCTION = "${var.name}-process-batch-jobs-${local.region}"
      }
    }
    operate_queue = {
      name        = "${var.name}-operate-queue-${local.region}"
      description = "Takes orders for the queue ${var.name}: cancel, retry, pause, resume, sweep, explain, status and check."
      timeout     = 900
      environment = {
        CREATE_FUNCTION  = "${var.name}-create-batch-queue-${local.region}"
        PROCESS_FUNCTION = "${var.name}-process-batch-jobs-${local.region}"
        COLLECT_FUNCTION = "${var.name}-collect-results-${local.region}"
      }
    }
    publish_events = {
      name        = "${var.name}-publish-events-${local.region}"
      description = "Tells others how uploads and Bedrock jobs of the queue ${var.name} begin and end."
      timeout     = 60
      environment = {
        EVENT_BUS_ARN          = local.event_bus_arn
        NOTIFICATION_TOPIC_ARN = var.notification_topic_arn == null ? "" : var.notification_topic_arn
        NOTIFY_ON              = join(",", sort(var.notify_on))
      }
    }
  }

  # Built from names, because a policy that referred to the functions would wait for what waits for it.
  function_arns = {
    for key, function in local.functions :
    key => "arn:${local.partition}:lambda:${local.region}:${local.account_id}:function:${function.name}"
  }

  environment = {
    NAME           = var.name
    TABLE          = aws_dynamodb_table.this.name
    BUCKET         = local.bucket_name
    INPUT_PREFIX   = var.input_prefix
    OUTPUT_PREFIX  = var.output_prefix
    WORK_PREFIX    = var.work_prefix
    MEDIA_PREFIXES = join(",", local.media_prefixes)
    BUCKET_OWNER   = var.bucket_owner == null ? "" : var.bucket_owner
    KMS_KEY_ARN    = var.kms_key_arn == null ? "" : var.kms_key_arn
    LOG_LEVEL      = var.log_level

    ROW_RETENTION_DAYS = var.row_retention_days == null ? "" : tostring(var.row_retention_days)
  }
}

# Where the queue is, as it was when the queue was created. With depends_on in the module block, Terraform reads no data
# source while the dependency has a change pending. What is named by a data source would then be replaced.
resource "terraform_data" "location" {
  input = local.current

  lifecycle {
    # The input, not the output, is known in the plan that creates this.
    ignore_changes = [input]

    # Here, because nothing else is created before this.
    precondition {
      condition = local.loop_detection || var.manage_recursion_config != null
      error_message = join(" ", [
        "As far as this version of the module knows, Lambda has no recursive loop detection in",
        "${local.current.region}, where setting it fails: write manage_recursion_config = false, or true if Lambda has",
        "it there by now.",
      ])
    }

    postcondition {
      condition = self.input == local.current
      error_message = join(" ", [
        "The state contains the queue ${var.name} of account ${self.input.account_id} in ${self.input.region}, but the",
        "provider is configured for account ${local.current.account_id} in ${local.current.region}. Use the credentials",
        "and Region of the queue. To create a separate queue there, use another workspace or backend key.",
      ])
    }
  }
}

resource "aws_lambda_function" "this" {
  for_each = local.functions

  function_name    = each.value.name
  description      = each.value.description
  role             = aws_iam_role.function[each.key].arn
  handler          = "${each.key}.handler"
  runtime          = var.lambda_runtime
  architectures    = [var.lambda_architecture]
  filename         = local.package
  source_code_hash = filebase64sha256(local.package)
  memory_size      = var.lambda_memory_size
  timeout          = each.value.timeout
  layers           = var.lambda_layers
  kms_key_arn      = var.kms_key_arn
  tags             = local.tags

  reserved_concurrent_executions = lookup(var.lambda_reserved_concurrency, each.key, null)

  environment {
    variables = merge(var.lambda_environment, local.environment, each.value.environment)
  }

  # No application_log_level: Lambda counts a line without a level as INFO, and the metrics are such lines.
  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.function[each.key].name
  }

  dead_letter_config {
    target_arn = aws_sqs_queue.dead_letters.arn
  }

  # Also when it is off: without the block, the provider would leave it on.
  tracing_config {
    mode = var.tracing ? "Active" : "PassThrough"
  }

  dynamic "vpc_config" {
    for_each = var.vpc == null ? [] : [var.vpc]

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  lifecycle {
    # Lambda measures the JSON. The two ARNs that a first plan may not know yet count as 200 bytes together.
    precondition {
      condition = length(base64encode(jsonencode({
        for key, value in merge(var.lambda_environment, local.environment, each.value.environment) :
        key => contains(["KMS_KEY_ARN", "ROLE_ARN"], key) ? "" : value
      }))) / 4 * 3 <= 4096 - 200
      error_message = "Lambda takes 4,096 bytes of environment variables for a function, and those of ${each.value.name} are more: write fewer or shorter ones in lambda_environment (and shorter prefixes)."
    }
  }

  # Lambda refuses a dead-letter queue, a key or a VPC that the role may not use yet.
  depends_on = [aws_iam_role_policy.function_runtime]
}

# After the third failure (the call and two retries) the event goes to the dead-letter queue.
resource "aws_lambda_function_event_invoke_config" "this" {
  for_each = local.functions

  function_name                = aws_lambda_function.this[each.key].function_name
  maximum_retry_attempts       = 2
  maximum_event_age_in_seconds = 21600
}

# Lambda takes functions that invoke themselves and each other for a mistake and stops them after some 16
# rounds. Here each round does a part of the work that is left, and none follows when none is left.
#
# An input decides and not the Region, because for_each must be known in every plan. With depends_on in the module
# block, the Region can be unknown in the first one.
resource "aws_lambda_function_recursion_config" "this" {
  for_each = coalesce(var.manage_recursion_config, true) ? local.functions : {}

  function_name  = aws_lambda_function.this[each.key].function_name
  recursive_loop = "Allow"
}

# create_batch_queue: S3, for this bucket of its owner's account only (the notification is in bucket.tf).
resource "aws_lambda_permission" "bucket" {
  statement_id   = "AllowUploads"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.this["create_batch_queue"].function_name
  principal      = "s3.amazonaws.com"
  source_arn     = local.bucket_arn
  source_account = local.bucket_owner

  # What that says about the bucket comes first.
  depends_on = [data.aws_s3_bucket.existing]
}

# process_batch_jobs: Bedrock's events about our jobs, and the schedule as the safety net for a lost one.
resource "aws_cloudwatch_event_rule" "schedule" {
  name                = "${var.name}-schedule-${local.region}"
  description         = "Wakes process_batch_jobs of the queue ${var.name}, whatever else happened."
  schedule_expression = var.schedule_expression
  tags                = local.tags
}

resource "aws_cloudwatch_event_rule" "job_state" {
  name        = "${var.name}-job-state-${local.region}"
  description = "Wakes process_batch_jobs as soon as a Bedrock job of the queue ${var.name} changes its state."
  tags        = local.tags

  event_pattern = jsonencode({
    source      = ["aws.bedrock"]
    detail-type = ["Batch Inference Job State Change"]
    detail = {
      batchJobName = [{ prefix = "${var.name}-" }]
      # Nothing depends on these: the row of a job has them by the schedule's next run.
      status = [{ anything-but = ["Submitted", "Validating", "Scheduled"] }]
    }
  })
}

locals {
  rules = {
    schedule  = aws_cloudwatch_event_rule.schedule
    job_state = aws_cloudwatch_event_rule.job_state
  }
}

resource "aws_cloudwatch_event_target" "process_batch_jobs" {
  for_each = local.rules

  rule      = each.value.name
  target_id = "process-batch-jobs"
  arn       = aws_lambda_function.this["process_batch_jobs"].arn

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }

  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 10
  }

  # A rule that fires before it may is an invocation lost.
  depends_on = [aws_lambda_permission.rule, aws_sqs_queue_policy.dead_letters]
}

resource "aws_lambda_permission" "rule" {
  for_each = local.rules

  statement_id  = "AllowRule-${each.key}"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["process_batch_jobs"].function_name
  principal     = "events.amazonaws.com"
  source_arn    = each.value.arn
}

# create_batch_queue: the sweep, which looks for uploads whose event was lost. An event has come after an hour;
# what is younger would be read twice for nothing.
resource "aws_cloudwatch_event_rule" "sweep" {
  count = var.sweep_schedule_expression == null ? 0 : 1

  name                = "${var.name}-sweep-${local.region}"
  description         = "Has create_batch_queue of the queue ${var.name} look for uploads that it was not told of."
  schedule_expression = var.sweep_schedule_expression
  tags                = local.tags
}

resource "aws_cloudwatch_event_target" "sweep" {
  count = length(aws_cloudwatch_event_rule.sweep)

  rule      = aws_cloudwatch_event_rule.sweep[0].name
  target_id = "create-batch-queue"
  arn       = aws_lambda_function.this["create_batch_queue"].arn
  input     = jsonencode({ sweep = true, min_age_minutes = 60 })

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }

  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 10
  }

  depends_on = [aws_lambda_permission.sweep, aws_sqs_queue_policy.dead_letters]
}

resource "aws_lambda_permission" "sweep" {
  count = length(aws_cloudwatch_event_rule.sweep)

  statement_id  = "AllowRule-sweep"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["create_batch_queue"].function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.sweep[0].arn
}
