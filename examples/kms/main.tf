# Everything that the queue stores, encrypted with one key of yours: files, table, dead letters, logs, alarms and
# the functions' settings. kms.tf has the key with its policy.

provider "aws" {}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  name       = "br-kms"
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.id
  tags       = { Environment = "example" }
}

module "batch_inference" {
  source = "../.."

  name          = local.name
  model_id      = "anthropic.claude-3-5-haiku-20241022-v1:0"
  kms_key_arn   = aws_kms_key.this.arn
  alarm_actions = [aws_sns_topic.alarms.arn]
  tags          = local.tags
}

resource "aws_sns_topic" "alarms" {
  name              = "${local.name}-alarms"
  kms_master_key_id = aws_kms_key.this.id
  tags              = local.tags
}
