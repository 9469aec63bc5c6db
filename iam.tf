# One role for each function, and the role that Bedrock itself uses to read inputs and write results.
#
# Resources are as narrow as AWS allows. "*" stands only where it knows nothing finer:
# bedrock:ListModelInvocationJobs, and the network interface actions of the VPC options.

locals {
  table_index_arn = "${aws_dynamodb_table.this.arn}/index/status-index"
  ec2_arn         = "arn:${local.partition}:ec2:${local.region}:${local.account_id}"
  job_arns        = "arn:${local.partition}:bedrock:${local.region}:${local.account_id}:model-invocation-job/*"

  # us.anthropic.…, global.anthropic.…: a geography before provider.model is an inference profile.
  geography = "^(?:[a-z]{2}|us-gov|apac|global)\\."
  models = {
    for id in distinct([for route in local.routes : route.model_id]) : id => {
      system_profile      = can(regex(":inference-profile/", id)) || can(regex("${local.geography}[^.:/]+\\.", id))
      application_profile = can(regex(":application-inference-profile/", id))
    }
  }

  # By model id, what may be invoked for it: the model, or the profile and what it routes to. That is its model
  # in several Regions; behind the random id of an application inference profile it can be any model.
  profile_arns = {
    for id, model in local.models : id => [
      startswith(id, "arn:") ? id : "arn:${local.partition}:bedrock:${local.region}:${local.account_id}:inference-profile/${id}",
      "arn:${local.partition}:bedrock:*::foundation-model/${model.application_profile ? "*" : replace(reverse(split("/", id))[0], "/${local.geography}/", "")}",
    ] if model.system_profile || model.application_profile
  }
  model_arns = {
    for id in keys(local.models) : id => lookup(local.profile_arns, id, [
      startswith(id, "arn:") ? id : "arn:${local.partition}:bedrock:${local.region}::foundation-model/${id}",
    ])
  }

  on_demand_arns = distinct(flatten([for route in local.routes : local.model_arns[route.model_id] if route.undersized == "on_demand"]))
  media          = anytrue([for route in local.routes : route.media])
}

# The functions' roles

data "aws_iam_policy_document" "function_trust" {
  statement {
    sid     = "AllowLambda"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "function" {
  for_each = local.functions

  name                 = each.value.name
  description          = "What the function ${each.value.name} may do."
  path                 = var.role_path
  permissions_boundary = var.permissions_boundary
  assume_role_policy   = data.aws_iam_policy_document.function_trust.json
  tags                 = local.tags
}

# What Lambda itself needs to run a function as it is set up.
data "aws_iam_policy_document" "function_runtime" {
  for_each = local.functions

  statement {
    sid       = "WriteOwnLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.function[each.key].arn}:*"]
  }

  statement {
    sid       = "SendDeadLetters"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letters.arn]
  }

  # Only through the services that store with it: docs/kms.md.
  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "UseKeyForFilesAndDeadLetters"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = [for service in ["s3", "sqs"] : "${service}.${local.region}.amazonaws.com"]
      }
    }
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "UseKeyForTable"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["dynamodb.${local.region}.amazonaws.com"]
      }
    }
  }

  # Lambda decrypts a function's environment in the name of its role, and says for which function.
  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "UseKeyForOwnEnvironment"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:EncryptionContext:aws:lambda:FunctionArn"
        values   = [local.function_arns[each.key]]
      }
    }
  }

  dynamic "statement" {
    for_each = var.vpc == null ? [] : [var.vpc]

    content {
      sid = "ManageNetworkInterfaces"
      actions = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
      ]
      resources = ["*"]
    }
  }

  # The service needs the network interfaces, the code that runs in the function never does.
  dynamic "statement" {
    for_each = var.vpc == null ? [] : [var.vpc]

    content {
      sid    = "DenyNetworkInterfacesToCode"
      effect = "Deny"
      actions = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
      ]
      resources = ["*"]

      condition {
        test     = "ArnEquals"
        variable = "lambda:SourceFunctionArn"
        values   = [local.function_arns[each.key]]
      }
    }
  }
}

resource "aws_iam_role_policy" "function_runtime" {
  for_each = local.functions

  name   = "runtime"
  role   = aws_iam_role.function[each.key].name
  policy = data.aws_iam_policy_document.function_runtime[each.key].json
}

data "aws_iam_policy_document" "create_batch_queue" {
  statement {
    sid       = "ReadUploads"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${local.bucket_arn}/${var.input_prefix}*"]
  }

  # Without it, S3 answers 403 and not 404 for an upload that was deleted meanwhile. Such a read carries
  # no s3:prefix to set a condition on.
  statement {
    sid       = "SeeThatUploadsAreGone"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  statement {
    sid       = "WriteRejectionReports"
    actions   = ["s3:PutObject"]
    resources = ["${local.bucket_arn}/${var.output_prefix}*.rejected.json"]
  }

  # The sweep.
  statement {
    sid       = "ListUploads"
    actions   = ["s3:ListBucketVersions"]
    resources = [local.bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${var.input_prefix}*"]
    }
  }

  statement {
    sid = "QueueUploads"
    actions = [
      "dynamodb:BatchGetItem",
      "dynamodb:ConditionCheckItem",
      "dynamodb:GetItem",
      "dynamodb:PutItem",
      "dynamodb:Query",
      "dynamodb:UpdateItem",
    ]
    resources = [aws_dynamodb_table.this.arn]
  }

  # Where the reading of a large upload stands, for the invocation that goes on with it.
  statement {
    sid       = "KeepReadingState"
    actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    resources = ["${local.bucket_arn}/${local.work_prefix}reading/*"]
  }

  statement {
    sid     = "WakeProcessBatchJobsAndGoOn"
    actions = ["lambda:InvokeFunction"]
    resources = [
      local.function_arns["create_batch_queue"],
      local.function_arns["process_batch_jobs"],
    ]
  }
}

resource "aws_iam_role_policy" "create_batch_queue" {
  name   = "create-batch-queue"
  role   = aws_iam_role.function["create_batch_queue"].name
  policy = data.aws_iam_policy_document.create_batch_queue.json
}

data "aws_iam_policy_document" "process_batch_jobs" {
  statement {
    sid = "ManageQueue"
    actions = [
      "dynamodb:BatchGetItem",
      "dynamodb:DeleteItem",
      "dynamodb:GetItem",
      "dynamodb:PutItem",
      "dynamodb:Query",
      "dynamodb:UpdateItem",
    ]
    resources = [aws_dynamodb_table.this.arn]
  }

  statement {
    sid       = "QueryQueueByStatus"
    actions   = ["dynamodb:Query"]
    resources = [local.table_index_arn]
  }

  statement {
    sid       = "ReadUploads"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${local.bucket_arn}/${var.input_prefix}*"]
  }

  statement {
    sid       = "SeeThatUploadsAreGone"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  statement {
    sid       = "ReadRecordsToRunAgain"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket_arn}/${local.work_prefix}*/retry/*"]
  }

  # The objects that records link to can lie anywhere in the bucket.
  dynamic "statement" {
    for_each = local.media ? [local.bucket_arn] : []

    content {
      sid       = "ReadMedia"
      actions   = ["s3:GetObject"]
      resources = ["${statement.value}/*"]
    }
  }

  statement {
    sid       = "StageInputs"
    actions   = ["s3:AbortMultipartUpload", "s3:PutObject"]
    resources = ["${local.bucket_arn}/${local.work_prefix}*/in/*"]
  }

  statement {
    sid       = "CreateJobs"
    actions   = ["bedrock:CreateModelInvocationJob"]
    resources = distinct(concat([local.job_arns], flatten(values(local.model_arns))))
  }

  statement {
    sid       = "FollowJobs"
    actions   = ["bedrock:GetModelInvocationJob"]
    resources = [local.job_arns]
  }

  statement {
    sid       = "TagJobs"
    actions   = ["bedrock:TagResource"]
    resources = [local.job_arns]
  }

  statement {
    sid       = "ListJobs"
    actions   = ["bedrock:ListModelInvocationJobs"]
    resources = ["*"]
  }

  statement {
    sid       = "PassRoleToBedrock"
    actions   = ["iam:PassRole"]
    resources = [local.bedrock_role_arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["bedrock.amazonaws.com"]
    }
  }

  statement {
    sid     = "CollectResultsAndGoOn"
    actions = ["lambda:InvokeFunction"]
    resources = [
      local.function_arns["collect_results"],
      local.function_arns["process_batch_jobs"],
    ]
  }
}

resource "aws_iam_role_policy" "process_batch_jobs" {
  name   = "process-batch-jobs"
  role   = aws_iam_role.function["process_batch_jobs"].name
  policy = data.aws_iam_policy_document.process_batch_jobs.json
}

data "aws_iam_policy_document" "collect_results" {
  statement {
    sid = "SettleUploads"
    actions = [
      "dynamodb:DeleteItem",
      "dynamodb:GetItem",
      "dynamodb:PutItem",
      "dynamodb:Query",
      "dynamodb:UpdateItem",
    ]
    resources = [aws_dynamodb_table.this.arn]
  }

  # What went in and what came out of the jobs, and what was made of it so far.
  statement {
    sid       = "ReadWorkArea"
    actions   = ["s3:GetObject"]
    resources = [for part in ["in", "out", "retry", "settled"] : "${local.bucket_arn}/${local.work_prefix}*/${part}/*"]
  }

  # "out" is for records that are run on demand.
  statement {
    sid       = "WriteWorkArea"
    actions   = ["s3:AbortMultipartUpload", "s3:PutObject"]
    resources = [for part in ["out", "retry", "settled"] : "${local.bucket_arn}/${local.work_prefix}*/${part}/*"]
  }

  # The records of a job that Bedrock never ran are read from the upload itself.
  statement {
    sid       = "ReadUploads"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${local.bucket_arn}/${var.input_prefix}*"]
  }

  # Lists what a job wrote; and without it, S3 answers 403 and not 404 for an upload that was deleted.
  statement {
    sid       = "ListJobOutputsAndSeeThatUploadsAreGone"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  statement {
    sid       = "WriteResults"
    actions   = ["s3:AbortMultipartUpload", "s3:PutObject"]
    resources = ["${local.bucket_arn}/${var.output_prefix}*"]
  }

  dynamic "statement" {
    for_each = length(local.on_demand_arns) == 0 ? [] : [local.on_demand_arns]

    content {
      sid       = "InvokeModelsOnDemand"
      actions   = ["bedrock:InvokeModel"]
      resources = statement.value
    }
  }

  # Bedrock reads what a record links as the one who asks.
  dynamic "statement" {
    for_each = local.media && length(local.on_demand_arns) > 0 ? [local.bucket_arn] : []

    content {
      sid       = "ReadMediaOnDemand"
      actions   = ["s3:GetObject"]
      resources = ["${statement.value}/*"]
    }
  }

  statement {
    sid     = "WakeProcessBatchJobsAndGoOn"
    actions = ["lambda:InvokeFunction"]
    resources = [
      local.function_arns["collect_results"],
      local.function_arns["process_batch_jobs"],
    ]
  }
}

resource "aws_iam_role_policy" "collect_results" {
  name   = "collect-results"
  role   = aws_iam_role.function["collect_results"].name
  policy = data.aws_iam_policy_document.collect_results.json
}

# Bedrock's service role, unless one is given

locals {
  bedrock_role_arn  = var.role_arn == null ? aws_iam_role.bedrock[0].arn : var.role_arn
  bedrock_role_name = var.role_arn == null ? aws_iam_role.bedrock[0].name : reverse(split("/", var.role_arn))[0]
}

data "aws_iam_policy_document" "bedrock_trust" {
  count = var.role_arn == null ? 1 : 0

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
  count = var.role_arn == null ? 1 : 0

  name                 = "${var.name}-bedrock-${local.region}"
  description          = "What the Bedrock batch inference jobs of the queue ${var.name} may do."
  path                 = var.role_path
  permissions_boundary = var.permissions_boundary
  assume_role_policy   = data.aws_iam_policy_document.bedrock_trust[0].json
  tags                 = local.tags
}

data "aws_iam_policy_document" "bedrock" {
  count = var.role_arn == null ? 1 : 0

  statement {
    sid       = "ReadStagedInputs"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket_arn}/${local.work_prefix}*/in/*"]
  }

  # Not narrowed to a prefix: which prefixes Bedrock lists when it checks a job is not documented.
  statement {
    sid       = "ListBucket"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceAccount"
      values   = [local.account_id]
    }
  }

  statement {
    sid       = "WriteOutputs"
    actions   = ["s3:PutObject"]
    resources = ["${local.bucket_arn}/${local.work_prefix}*/out/*"]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "UseKeyForFiles"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${local.region}.amazonaws.com"]
      }
    }
  }

  dynamic "statement" {
    for_each = length(local.profile_arns) == 0 ? [] : [distinct(flatten(values(local.profile_arns)))]

    content {
      sid       = "InvokeThroughInferenceProfiles"
      actions   = ["bedrock:InvokeModel"]
      resources = statement.value
    }
  }

  # As Amazon Bedrock's user guide has it under "Protect batch inference jobs using a VPC".
  dynamic "statement" {
    for_each = var.job_vpc == null ? [] : [var.job_vpc]

    content {
      sid = "DescribeNetwork"
      actions = [
        "ec2:DescribeDhcpOptions",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
        "ec2:DescribeVpcs",
      ]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = var.job_vpc == null ? [] : [var.job_vpc]

    content {
      sid       = "CreateTaggedNetworkInterfaces"
      actions   = ["ec2:CreateNetworkInterface"]
      resources = ["${local.ec2_arn}:network-interface/*"]

      condition {
        test     = "StringEquals"
        variable = "aws:RequestTag/BedrockManaged"
        values   = ["true"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:RequestTag/BedrockModelInvocationJobArn"
        values   = [local.job_arns]
      }
    }
  }

  # Apart from the interface, because a subnet and a security group carry no request tags.
  dynamic "statement" {
    for_each = var.job_vpc == null ? [] : [var.job_vpc]

    content {
      sid     = "CreateNetworkInterfacesInSubnets"
      actions = ["ec2:CreateNetworkInterface"]
      resources = concat(
        [for id in statement.value.subnet_ids : "${local.ec2_arn}:subnet/${id}"],
        [for id in statement.value.security_group_ids : "${local.ec2_arn}:security-group/${id}"],
      )
    }
  }

  dynamic "statement" {
    for_each = var.job_vpc == null ? [] : [var.job_vpc]

    content {
      sid = "ManageOwnNetworkInterfaces"
      actions = [
        "ec2:CreateNetworkInterfacePermission",
        "ec2:DeleteNetworkInterface",
        "ec2:DeleteNetworkInterfacePermission",
      ]
      resources = ["*"]

      condition {
        test     = "StringEquals"
        variable = "ec2:Subnet"
        values   = [for id in statement.value.subnet_ids : "${local.ec2_arn}:subnet/${id}"]
      }

      condition {
        test     = "ArnEquals"
        variable = "ec2:ResourceTag/BedrockModelInvocationJobArn"
        values   = [local.job_arns]
      }
    }
  }

  dynamic "statement" {
    for_each = var.job_vpc == null ? [] : [var.job_vpc]

    content {
      sid       = "TagNewNetworkInterfaces"
      actions   = ["ec2:CreateTags"]
      resources = ["${local.ec2_arn}:network-interface/*"]

      condition {
        test     = "StringEquals"
        variable = "ec2:CreateAction"
        values   = ["CreateNetworkInterface"]
      }

      condition {
        test     = "ForAllValues:StringEquals"
        variable = "aws:TagKeys"
        values   = ["BedrockManaged", "BedrockModelInvocationJobArn"]
      }
    }
  }
}

resource "aws_iam_role_policy" "bedrock" {
  count = var.role_arn == null ? 1 : 0

  name   = "batch-inference"
  role   = aws_iam_role.bedrock[0].name
  policy = data.aws_iam_policy_document.bedrock[0].json
}
