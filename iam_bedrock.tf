# The service role that Bedrock uses to read inputs and write results, unless one is given. Whether it is created depends
# on create_role and not on role_arn, which can be unknown at plan time.

locals {
  bedrock_role_arn  = var.create_role ? aws_iam_role.bedrock[0].arn : var.role_arn
  bedrock_role_name = var.create_role ? aws_iam_role.bedrock[0].name : reverse(split("/", var.role_arn))[0]

  # As bedrock_role_arn, but known before the role is created.
  passed_role_arn = var.create_role ? join("", [
    "arn:${local.partition}:iam::${local.account_id}:role", aws_iam_role.bedrock[0].path, aws_iam_role.bedrock[0].name,
  ]) : var.role_arn

  bedrock_arn = "arn:${local.partition}:bedrock:${local.region}:${local.account_id}"

  ec2_arn     = "arn:${local.partition}:ec2:${local.region}:${local.account_id}"
  subnet_arns = [for id in try(var.job_vpc.subnet_ids, []) : "${local.ec2_arn}:subnet/${id}"]
  group_arns  = [for id in try(var.job_vpc.security_group_ids, []) : "${local.ec2_arn}:security-group/${id}"]

  bedrock_statements = [
    { sid = "ReadStagedInputs", actions = ["s3:GetObject"], resources = ["${local.work_arn}*/in/*"] },
    # Not narrowed to a prefix: which prefixes Bedrock lists when it checks a job is not documented.
    {
      sid       = "ListBucket"
      actions   = ["s3:ListBucket"]
      resources = [local.bucket_arn]
      condition = { StringEquals = { "aws:ResourceAccount" = [local.bucket_owner] } }
    },
    { sid = "WriteOutputs", actions = ["s3:PutObject"], resources = ["${local.work_arn}*/out/*"] },
    {
      sid       = "UseKeyForFiles"
      when      = var.kms_key_arn != null
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [var.kms_key_arn]
      condition = { StringEquals = { "kms:ViaService" = ["s3.${local.region}.amazonaws.com"] } }
    },
    {
      sid       = "InvokeThroughInferenceProfiles"
      when      = length(local.profile_arns) > 0
      actions   = ["bedrock:InvokeModel"]
      resources = distinct(flatten(values(local.profile_arns)))
    },
    # As in Amazon Bedrock's user guide under "Protect batch inference jobs using a VPC".
    {
      sid  = "DescribeNetwork"
      when = var.job_vpc != null
      actions = [
        "ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets", "ec2:DescribeVpcs",
      ]
      resources = ["*"]
    },
    {
      sid       = "CreateTaggedNetworkInterfaces"
      when      = var.job_vpc != null
      actions   = ["ec2:CreateNetworkInterface"]
      resources = ["${local.ec2_arn}:network-interface/*"]
      condition = {
        StringEquals = { "aws:RequestTag/BedrockManaged" = ["true"] }
        ArnEquals    = { "aws:RequestTag/BedrockModelInvocationJobArn" = [local.job_arns] }
      }
    },
    # Separate from the interface, because a subnet and a security group carry no request tags.
    {
      sid       = "CreateNetworkInterfacesInSubnets"
      when      = var.job_vpc != null
      actions   = ["ec2:CreateNetworkInterface"]
      resources = concat(local.subnet_arns, local.group_arns)
    },
    {
      sid  = "ManageOwnNetworkInterfaces"
      when = var.job_vpc != null
      actions = [
        "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface", "ec2:DeleteNetworkInterfacePermission",
      ]
      resources = ["*"]
      condition = {
        StringEquals = { "ec2:Subnet" = local.subnet_arns }
        ArnEquals    = { "ec2:ResourceTag/BedrockModelInvocationJobArn" = [local.job_arns] }
      }
    },
    {
      sid       = "TagNewNetworkInterfaces"
      when      = var.job_vpc != null
      actions   = ["ec2:CreateTags"]
      resources = ["${local.ec2_arn}:network-interface/*"]
      condition = {
        StringEquals                = { "ec2:CreateAction" = ["CreateNetworkInterface"] }
        "ForAllValues:StringEquals" = { "aws:TagKeys" = ["BedrockManaged", "BedrockModelInvocationJobArn"] }
      }
    },
  ]
}

data "aws_iam_policy_document" "bedrock_trust" {
  count = var.create_role ? 1 : 0

  # Only Bedrock's batch jobs, and only those of this account and Region.
  statement {
    sid     = "AllowBatchInference"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["bedrock.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [local.job_arns]
    }
  }
}

resource "aws_iam_role" "bedrock" {
  count = var.create_role ? 1 : 0

  name                 = "${var.name}-bedrock-${local.region}"
  description          = "What the Bedrock batch inference jobs of the queue ${var.name} may do."
  path                 = var.role_path
  permissions_boundary = var.permissions_boundary
  assume_role_policy   = data.aws_iam_policy_document.bedrock_trust[0].json
  tags                 = local.tags
}

resource "aws_iam_role_policy" "bedrock" {
  count = var.create_role ? 1 : 0

  name   = "batch-inference"
  role   = aws_iam_role.bedrock[0].name
  policy = data.aws_iam_policy_document.role["bedrock"].json

  lifecycle {
    precondition {
      condition     = local.policy_sizes.bedrock <= local.max_policy_size
      error_message = local.policy_advice.bedrock
    }
  }
}
