# The module on the local AWS, as `make up`, the demo and the integration tests apply it. It is applied from a copy in
# .build/<stack>/root-module, from where the module is three levels up too. The endpoint comes from AWS_ENDPOINT_URL.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

provider "aws" {}

module "queue" {
  source = "../../.."

  name     = var.name
  model_id = var.model_id
  routes   = var.routes

  media_prefixes      = var.media_prefixes
  max_active_jobs     = var.max_active_jobs
  schedule_expression = var.schedule_expression
  lambda_runtime      = var.lambda_runtime
  lambda_environment  = var.lambda_environment
  kms_key_arn         = var.kms_key_arn
  tracing             = var.tracing
  alarm_actions       = var.alarm_actions
  vpc                 = var.vpc
  job_vpc             = var.job_vpc
  force_destroy       = var.force_destroy
  tags                = var.tags

  notification_topic_arn = aws_sns_topic.people.arn

  depends_on = [terraform_data.earlier]
}

# Who hears how uploads end.
resource "aws_sns_topic" "people" {
  name              = "${var.name}-people"
  kms_master_key_id = var.kms_key_arn == null ? "alias/aws/sns" : var.kms_key_arn
  tags              = var.tags
}

# What the queue depends on; another value is a change pending.
resource "terraform_data" "earlier" {
  input = var.earlier
}
