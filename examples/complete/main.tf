# Every input that can be combined with the others, with routes for three more models. The key, the network, the
# boundary and the topic, which a company often has, are created here so that the example is complete.

provider "aws" {}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  name       = "br-complete"
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.id
  tags       = { Environment = "example", CostCenter = "42" }

  bucket_name = "${local.name}-files-${local.account_id}-${local.region}"
}

module "key" {
  source = "../../modules/kms-key"

  name = local.name
  tags = local.tags
}

# A statement of your own in the bucket's policy: only principals of this account read results.
data "aws_iam_policy_document" "readers" {
  statement {
    sid       = "DenyReadersOutsideTheAccount"
    effect    = "Deny"
    actions   = ["s3:GetObject*"]
    resources = ["arn:${local.partition}:s3:::${local.bucket_name}/outbox/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "StringNotEquals"
      variable = "aws:PrincipalAccount"
      values   = [local.account_id]
    }
  }
}

module "batch_inference" {
  source = "../.."

  name     = local.name
  model_id = "global.anthropic.claude-haiku-4-5-20251001-v1:0"

  # Uploads to inbox/<name>/ use the route <name>, all others the route "default".
  max_active_jobs = 8
  routes = {
    summaries = {
      model_id        = "global.anthropic.claude-sonnet-4-5-20250929-v1:0"
      invocation_type = "Converse"
      max_active_jobs = 5
      priority        = 80
      reserved_slots  = 1 # for jobs that others start
      timeout_hours   = 48
      tags            = { Team = "summaries" }

      # Records that are still too few for a job after five minutes run on demand.
      pack_wait_minutes = 5
      undersized        = "on_demand"

      # As on Bedrock's price list, for the cost in each upload's summary.
      prices = { input_per_million_tokens = 1.5, output_per_million_tokens = 7.5 }
    }
    labels = {
      model_id            = "amazon.nova-lite-v1:0"
      quota_code          = var.quota_code
      max_active_jobs     = var.quota_code == null ? 4 : null
      priority            = 20
      media               = true # requests name objects below media_prefixes by S3 URI
      max_record_attempts = 5
    }
    embeddings = {
      model_id        = "arn:${local.partition}:bedrock:${local.region}::foundation-model/amazon.titan-embed-text-v2:0"
      max_active_jobs = 2

      # Bedrock's default quotas; write those of your account.
      min_records_per_job  = 100
      max_records_per_job  = 50000
      max_records_per_file = 50000
      max_bytes_per_file   = 1000000000
      max_bytes_per_job    = 5000000000
    }
  }

  create_bucket              = true
  bucket_name                = local.bucket_name
  manage_bucket_notification = true
  eventbridge_notifications  = true
  input_prefix               = "inbox/"
  output_prefix              = "outbox/"
  work_prefix                = "work/"
  media_prefixes             = ["pictures/"]
  work_retention_days        = 10
  uploads_retention_days     = 90
  results_retention_days     = 365
  bucket_policy_documents    = [data.aws_iam_policy_document.readers.json]
  row_retention_days         = 180
  force_destroy              = true
  deletion_protection        = false # true in production

  schedule_expression       = "rate(10 minutes)"
  sweep_schedule_expression = "cron(0 3 * * ? *)"

  kms_key_arn          = module.key.arn
  permissions_boundary = aws_iam_policy.boundary.arn
  role_path            = "/batch-inference/"

  vpc = {
    subnet_ids         = aws_subnet.this[*].id
    security_group_ids = [aws_security_group.client.id]
  }
  job_vpc = {
    subnet_ids         = aws_subnet.this[*].id
    security_group_ids = [aws_security_group.client.id]
  }

  lambda_runtime      = "python3.12"
  lambda_architecture = "arm64"
  lambda_memory_size  = 2048
  lambda_environment  = { TEAM = "platform" }
  lambda_layers       = var.lambda_layers

  manage_recursion_config = true # false in AWS GovCloud (US)

  # A large backfill leaves the rest of the account's concurrency to others.
  lambda_reserved_concurrency = { create_batch_queue = 50, process_batch_jobs = 2, collect_results = 50, operate_queue = 10, publish_events = 5 }

  log_level               = "INFO"
  log_retention_days      = 400
  tracing                 = true
  alarm_actions           = [aws_sns_topic.alarms.arn]
  ok_actions              = [aws_sns_topic.alarms.arn]
  pending_age_alarm_hours = 12
  event_bus_arn           = aws_cloudwatch_event_bus.this.arn
  notification_topic_arn  = aws_sns_topic.uploads.arn
  notify_on               = ["Failed", "Rejected", "Expired"]

  failed_records_alarm_percent = 5
  stalled_job_alarm_minutes    = 60
  create_dashboard             = true

  tags = local.tags
}

resource "aws_sns_topic" "alarms" {
  name              = "${local.name}-alarms"
  kms_master_key_id = module.key.id
  tags              = local.tags
}

resource "aws_sns_topic" "uploads" {
  name              = "${local.name}-uploads"
  kms_master_key_id = module.key.id
  tags              = local.tags
}

resource "aws_cloudwatch_event_bus" "this" {
  name = local.name
  tags = local.tags
}

# The key was a resource of this example in earlier versions.
moved {
  from = aws_kms_key.this
  to   = module.key.aws_kms_key.this
}
