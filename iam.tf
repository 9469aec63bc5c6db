# The functions' roles: what each may do, as lists of statements, and the one document that makes policies of them
# (also of those of Bedrock's role, in iam_bedrock.tf). A condition is written { operator = { key = values } };
# a statement with "when" is there only when that is true.
#
# Resources are as narrow as AWS allows. "*" is used only where IAM supports nothing narrower: for
# bedrock:ListModelInvocationJobs, for X-Ray's actions, for those of Service Quotas (in iam_policies.tf), and for the
# network interface actions of the VPC options.
#
# ARNs are built from names, which the first plan knows already: it shows the policies, and checks their length.

locals {
  table_arn  = "arn:${local.partition}:dynamodb:${local.region}:${local.account_id}:table/${aws_dynamodb_table.this.name}"
  index_arn  = "${local.table_arn}/index/status-index"
  queue_arn  = "arn:${local.partition}:sqs:${local.region}:${local.account_id}:${aws_sqs_queue.dead_letters.name}"
  logs_arn   = "arn:${local.partition}:logs:${local.region}:${local.account_id}:log-group"
  job_arns   = "${local.bedrock_arn}:model-invocation-job/*"
  input_arn  = "${local.bucket_arn}/${var.input_prefix}"
  output_arn = "${local.bucket_arn}/${var.output_prefix}"
  work_arn   = "${local.bucket_arn}/${var.work_prefix}"

  # What tells how an upload ended.
  report_arns = ["${local.output_arn}*.summary.json", "${local.output_arn}*.rejected.json"]

  table_actions = [
    "dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:GetItem",
    "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
  ]
  write_actions = ["s3:AbortMultipartUpload", "s3:PutObject"]
  interface_actions = [
    "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
  ]

  file_services = ["s3.${local.region}.amazonaws.com", "sqs.${local.region}.amazonaws.com"]

  # What Lambda itself needs to run a function with its settings.
  runtime_statements = {
    for key in keys(local.functions) : key => [
      {
        sid       = "WriteOwnLogs"
        actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        resources = ["${local.logs_arn}:${aws_cloudwatch_log_group.function[key].name}:*"]
      },
      { sid = "SendDeadLetters", actions = ["sqs:SendMessage"], resources = [local.queue_arn] },
      # The key only through the services that store with it: docs/kms.md.
      {
        sid       = "UseKeyForFilesAndDeadLetters"
        when      = var.kms_key_arn != null
        actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
        resources = [var.kms_key_arn]
        condition = { StringEquals = { "kms:ViaService" = local.file_services } }
      },
      {
        sid       = "UseKeyForTable"
        when      = var.kms_key_arn != null
        actions   = ["kms:Decrypt"]
        resources = [var.kms_key_arn]
        condition = { StringEquals = { "kms:ViaService" = ["dynamodb.${local.region}.amazonaws.com"] } }
      },
      # Lambda decrypts a function's environment in the name of its role, and says for which function.
      {
        sid       = "UseKeyForOwnEnvironment"
        when      = var.kms_key_arn != null
        actions   = ["kms:Decrypt"]
        resources = [var.kms_key_arn]
        condition = { StringEquals = { "kms:EncryptionContext:aws:lambda:FunctionArn" = [local.function_arns[key]] } }
      },
      {
        sid       = "SendTraces"
        when      = var.tracing
        actions   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
        resources = ["*"]
      },
      # Lambda needs the network interfaces; the code that runs in the function never does.
      { sid = "ManageNetworkInterfaces", when = var.vpc != null, actions = local.interface_actions, resources = ["*"] },
      {
        sid       = "DenyNetworkInterfacesToCode"
        when      = var.vpc != null
        effect    = "Deny"
        actions   = local.interface_actions
        resources = ["*"]
        condition = { ArnEquals = { "lambda:SourceFunctionArn" = [local.function_arns[key]] } }
      },
    ]
  }

  read_uploads = {
    sid = "ReadUploads", actions = ["s3:GetObject", "s3:GetObjectVersion"], resources = ["${local.input_arn}*"]
  }

  # Without s3:ListBucket, S3 answers 403 and not 404 for an upload that has been deleted. Such a read carries no
  # s3:prefix to set a condition on.
  see_that_uploads_are_gone = {
    sid = "SeeThatUploadsAreGone", actions = ["s3:ListBucket"], resources = [local.bucket_arn]
  }

  # What records can reference. Uploads are read anyway.
  media_arns = [
    for prefix in local.media_prefixes : "${local.bucket_arn}/${prefix}*" if !startswith(prefix, var.input_prefix)
  ]

  function_statements = {
    create_batch_queue = [
      local.read_uploads,
      merge(local.see_that_uploads_are_gone, { sid = "SeeThatObjectsAreGoneAndListWorkArea" }),
      { sid = "WriteReports", actions = ["s3:PutObject"], resources = local.report_arns },
      # They tell of an upload without a row that it has ended.
      { sid = "ReadReports", actions = ["s3:GetObject", "s3:GetObjectVersion"], resources = local.report_arns },
      # The sweep, and old versions of the reports.
      {
        sid       = "ListUploadsAndReports"
        actions   = ["s3:ListBucketVersions"]
        resources = [local.bucket_arn]
        condition = { StringLike = { "s3:prefix" = ["${var.input_prefix}*", "${var.output_prefix}*"] } }
      },
      {
        sid       = "QueueUploads"
        actions   = concat(local.table_actions, ["dynamodb:ConditionCheckItem"])
        resources = [local.table_arn]
      },
      # How far a large upload has been read, for the invocation that continues.
      {
        sid       = "KeepReadingState"
        actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
        resources = ["${local.work_arn}reading/*"]
      },
      {
        sid       = "WakeProcessBatchJobsAndGoOn"
        actions   = ["lambda:InvokeFunction"]
        resources = [local.function_arns["create_batch_queue"], local.function_arns["process_batch_jobs"]]
      },
    ]

    process_batch_jobs = [
      {
        sid       = "ManageQueue"
        actions   = local.table_actions
        resources = [local.table_arn]
      },
      { sid = "QueryQueueByStatus", actions = ["dynamodb:Query"], resources = [local.index_arn] },
      local.read_uploads,
      local.see_that_uploads_are_gone,
      { sid = "ReadRecordsToRunAgain", actions = ["s3:GetObject"], resources = ["${local.work_arn}*/retry/*"] },
      {
        sid       = "ReadMedia"
        when      = local.media && length(local.media_arns) > 0
        actions   = ["s3:GetObject"]
        resources = local.media_arns
      },
      { sid = "StageInputs", actions = local.write_actions, resources = ["${local.work_arn}*/in/*"] },
      {
        sid       = "CreateJobs"
        actions   = ["bedrock:CreateModelInvocationJob"]
        resources = distinct(concat([local.job_arns], flatten(values(local.model_arns))))
      },
      { sid = "FollowJobs", actions = ["bedrock:GetModelInvocationJob"], resources = [local.job_arns] },
      { sid = "TagJobs", actions = ["bedrock:TagResource"], resources = [local.job_arns] },
      { sid = "ListJobs", actions = ["bedrock:ListModelInvocationJobs"], resources = ["*"] },
      {
        sid       = "PassRoleToBedrock"
        actions   = ["iam:PassRole"]
        resources = [local.passed_role_arn]
        condition = { StringEquals = { "iam:PassedToService" = ["bedrock.amazonaws.com"] } }
      },
      {
        sid     = "CollectResultsAndGoOn"
        actions = ["lambda:InvokeFunction"]
        resources = [
          for key in ["collect_results", "operate_queue", "process_batch_jobs"] : local.function_arns[key]
        ]
      },
    ]

    collect_results = [
      {
        sid       = "SettleUploads"
        actions   = local.table_actions
        resources = [local.table_arn]
      },
      # What went into the jobs, what came out of them, and what has been made of it so far.
      {
        sid       = "ReadAndClearWorkArea"
        actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject"]
        resources = [for part in ["in", "out", "retry", "settled"] : "${local.work_arn}*/${part}/*"]
      },
      # "out" is for records that are run on demand.
      {
        sid       = "WriteWorkArea"
        actions   = ["s3:PutObject"]
        resources = [for part in ["out", "retry", "settled"] : "${local.work_arn}*/${part}/*"]
      },
      # What runs that were ended left unfinished.
      { sid = "FindUnfinishedUploads", actions = ["s3:ListBucketMultipartUploads"], resources = [local.bucket_arn] },
      # The records of a job that Bedrock never ran are read from the upload itself.
      local.read_uploads,
      merge(local.see_that_uploads_are_gone, { sid = "ListJobOutputsAndSeeThatUploadsAreGone" }),
      { sid = "WriteResults", actions = local.write_actions, resources = ["${local.output_arn}*"] },
      {
        sid       = "InvokeModelsOnDemand"
        when      = length(local.on_demand_arns) > 0
        actions   = ["bedrock:InvokeModel"]
        resources = local.on_demand_arns
      },
      # On demand, Bedrock reads what a record references with the caller's permissions.
      {
        sid       = "ReadMediaOnDemand"
        when      = local.media && length(local.on_demand_arns) > 0 && length(local.media_arns) > 0
        actions   = ["s3:GetObject"]
        resources = local.media_arns
      },
      {
        sid       = "WakeProcessBatchJobsAndGoOn"
        actions   = ["lambda:InvokeFunction"]
        resources = [local.function_arns["collect_results"], local.function_arns["process_batch_jobs"]]
      },
    ]

    operate_queue = [
      {
        sid       = "GiveOrders"
        actions   = local.table_actions
        resources = [local.table_arn]
      },
      # Which uploads an order names by their keys.
      {
        sid       = "ListUploads"
        actions   = ["s3:ListBucketVersions"]
        resources = [local.bucket_arn]
        condition = { StringLike = { "s3:prefix" = ["${var.input_prefix}*"] } }
      },
      # What runs again: the records of an upload that its result has no answer to.
      local.read_uploads,
      local.see_that_uploads_are_gone,
      {
        sid       = "ReadResults"
        actions   = ["s3:GetObject", "s3:GetObjectVersion"]
        resources = ["${local.output_arn}*.out"]
      },
      {
        sid       = "WriteRecordsToRunAgain"
        actions   = local.write_actions
        resources = [for part in ["retry", "settled"] : "${local.work_arn}*/${part}/*"]
      },
      { sid = "StopJobs", actions = ["bedrock:StopModelInvocationJob"], resources = [local.job_arns] },
      { sid = "ListJobs", actions = ["bedrock:ListModelInvocationJobs"], resources = ["*"] },
      {
        sid     = "HaveUploadsEndedAndGoOn"
        actions = ["lambda:InvokeFunction"]
        resources = [
          for key in ["collect_results", "operate_queue", "process_batch_jobs"] : local.function_arns[key]
        ]
      },
      {
        sid       = "StartSweeps"
        actions   = ["lambda:InvokeFunction"]
        resources = [local.function_arns["create_batch_queue"]]
      },
    ]

    publish_events = [
      # Lambda reads the stream in the name of the role. Its name has the time at which it was enabled.
      {
        sid       = "ReadStream"
        actions   = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"]
        resources = ["${local.table_arn}/stream/*"]
      },
      {
        sid       = "ReadPrices"
        actions   = ["dynamodb:GetItem"]
        resources = [local.table_arn]
        condition = { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = ["route"] } }
      },
      { sid = "SendEvents", actions = ["events:PutEvents"], resources = [local.event_bus_arn] },
      {
        sid       = "PublishNotifications"
        when      = var.notification_topic_arn != null
        actions   = ["sns:Publish"]
        resources = [var.notification_topic_arn == null ? "" : var.notification_topic_arn]
      },
      # If the topic is encrypted with the queue's key.
      {
        sid       = "UseKeyForNotifications"
        when      = var.kms_key_arn != null && var.notification_topic_arn != null
        actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
        resources = [var.kms_key_arn]
        condition = { StringEquals = { "kms:ViaService" = ["sns.${local.region}.amazonaws.com"] } }
      },
    ]
  }

  statements = merge(
    local.function_statements,
    { for key, statements in local.policy_statements : "policy_${key}" => statements },
    { for key, statements in local.runtime_statements : "${key}_runtime" => statements },
    { bedrock = local.bedrock_statements },
  )
}

data "aws_iam_policy_document" "role" {
  for_each = { for key, statements in local.statements : key => statements if key != "bedrock" || var.create_role }

  dynamic "statement" {
    for_each = [for statement in each.value : statement if lookup(statement, "when", true)]

    content {
      sid       = statement.value.sid
      effect    = lookup(statement.value, "effect", "Allow")
      actions   = statement.value.actions
      resources = statement.value.resources

      dynamic "condition" {
        for_each = flatten([
          for test, keys in lookup(statement.value, "condition", {}) :
          [for variable, values in keys : { test = test, variable = variable, values = values }]
        ])

        content {
          test     = condition.value.test
          variable = condition.value.variable
          values   = condition.value.values
        }
      }
    }
  }
}

# IAM counts the inline policies of a role together, without white space.
locals {
  max_policy_size = 10240

  role_documents = merge(
    { for key in keys(local.functions) : key => [key, "${key}_runtime"] },
    { bedrock = [for key in keys(data.aws_iam_policy_document.role) : key if key == "bedrock"] },
  )
  policy_sizes = {
    for role, keys in local.role_documents : role => sum(concat([0], [
      for key in keys : length(jsonencode(jsondecode(data.aws_iam_policy_document.role[key].json)))
    ]))
  }
  policy_advice = {
    for role, size in local.policy_sizes : role => join(" ", [
      "The policies of the role for ${role} have ${size} characters, but IAM takes ${local.max_policy_size} for the inline",
      "policies of a role. They name each model of the routes (${length(local.models)})${role == "bedrock" ? "" :
      " and each of media_prefixes (${length(local.media_prefixes)})"}. Use fewer models (one that several routes share",
      "counts once)${role == "bedrock" ? "" : " or fewer, shorter media_prefixes"}, or divide the routes between two",
      "queues: two module blocks, each with its own name.",
    ])
  }
}

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

resource "aws_iam_role_policy" "function_runtime" {
  for_each = local.functions

  name   = "runtime"
  role   = aws_iam_role.function[each.key].name
  policy = data.aws_iam_policy_document.role["${each.key}_runtime"].json
}

resource "aws_iam_role_policy" "create_batch_queue" {
  name   = "create-batch-queue"
  role   = aws_iam_role.function["create_batch_queue"].name
  policy = data.aws_iam_policy_document.role["create_batch_queue"].json
}

resource "aws_iam_role_policy" "process_batch_jobs" {
  name   = "process-batch-jobs"
  role   = aws_iam_role.function["process_batch_jobs"].name
  policy = data.aws_iam_policy_document.role["process_batch_jobs"].json

  lifecycle {
    precondition {
      condition     = local.policy_sizes.process_batch_jobs <= local.max_policy_size
      error_message = local.policy_advice.process_batch_jobs
    }
  }
}

resource "aws_iam_role_policy" "collect_results" {
  name   = "collect-results"
  role   = aws_iam_role.function["collect_results"].name
  policy = data.aws_iam_policy_document.role["collect_results"].json

  lifecycle {
    precondition {
      condition     = local.policy_sizes.collect_results <= local.max_policy_size
      error_message = local.policy_advice.collect_results
    }
  }
}

resource "aws_iam_role_policy" "operate_queue" {
  name   = "operate-queue"
  role   = aws_iam_role.function["operate_queue"].name
  policy = data.aws_iam_policy_document.role["operate_queue"].json
}

resource "aws_iam_role_policy" "publish_events" {
  name   = "publish-events"
  role   = aws_iam_role.function["publish_events"].name
  policy = data.aws_iam_policy_document.role["publish_events"].json
}
