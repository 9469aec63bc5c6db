# What no role of the queue may go beyond, whatever its own policies say.

resource "aws_iam_policy" "boundary" {
  name        = "${local.name}-boundary-${local.region}"
  description = "Permissions boundary of the roles of ${local.name}"
  policy      = data.aws_iam_policy_document.boundary.json
  tags        = local.tags
}

locals {
  boundary_actions = [
    "bedrock:*ModelInvocationJob*",
    "bedrock:InvokeModel",
    "bedrock:TagResource",
    "dynamodb:*Item",
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
    "dynamodb:Query",
    "ec2:*NetworkInterface*",
    "ec2:*PrivateIpAddresses",
    "ec2:CreateTags",
    "ec2:Describe*",
    "events:PutEvents",
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "lambda:InvokeFunction",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:GetObject*",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucketVersions",
    "s3:PutObject",
    "sns:Publish",
    "sqs:SendMessage",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
  ]
}

data "aws_iam_policy_document" "boundary" {
  statement {
    sid       = "AllowTheServicesOfTheQueue"
    actions   = local.boundary_actions
    resources = ["*"]
  }

  statement {
    sid       = "AllowToPassRolesToBedrock"
    actions   = ["iam:PassRole"]
    resources = ["arn:${local.partition}:iam::${local.account_id}:role/batch-inference/${local.name}-*"]
  }
}
