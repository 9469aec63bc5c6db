# Everything that the queue stores, encrypted with one key of yours: files, table, dead letters, logs, alarms and
# the functions' settings. modules/kms-key has the key with its policy.

provider "aws" {}

locals {
  name = "br-kms"
  tags = { Environment = "example" }
}

module "key" {
  source = "../../modules/kms-key"

  name = local.name
  tags = local.tags
}

module "batch_inference" {
  source = "../.."

  name          = local.name
  model_id      = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
  kms_key_arn   = module.key.arn
  alarm_actions = [aws_sns_topic.alarms.arn]
  tags          = local.tags
}

resource "aws_sns_topic" "alarms" {
  name              = "${local.name}-alarms"
  kms_master_key_id = module.key.id
  tags              = local.tags
}

# The key was a resource of this example in earlier versions.
moved {
  from = aws_kms_key.this
  to   = module.key.aws_kms_key.this
}
