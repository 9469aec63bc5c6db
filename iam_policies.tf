# What other stacks attach to their own roles, so that these can work with the queue (output policies).

locals {
  # The rules' names, which the first plan knows already.
  rule_arns = [
    for rule in concat(values(local.rules), aws_cloudwatch_event_rule.sweep) :
    "arn:${local.partition}:events:${local.region}:${local.account_id}:rule/${rule.name}"
  ]

  policy_statements = {
    # To upload files. The key only through S3: docs/kms.md.
    submit = [
      { sid = "Upload", actions = local.write_actions, resources = ["${local.input_arn}*"] },
      {
        sid       = "UseKeyForUploads"
        when      = var.kms_key_arn != null
        actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
        resources = [var.kms_key_arn]
        condition = { StringEquals = { "kms:ViaService" = ["s3.${local.region}.amazonaws.com"] } }
      },
    ]

    # To read uploads, results, reports and the rows that say how far an upload is.
    read = [
      {
        sid       = "ReadUploadsAndResults"
        actions   = ["s3:GetObject", "s3:GetObjectVersion"]
        resources = ["${local.input_arn}*", "${local.output_arn}*"]
      },
      {
        sid       = "ListUploadsAndResults"
        actions   = ["s3:ListBucket", "s3:ListBucketVersions"]
        resources = [local.bucket_arn]
        condition = { StringLike = { "s3:prefix" = ["${var.input_prefix}*", "${var.output_prefix}*"] } }
      },
      {
        sid       = "ReadRows"
        actions   = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"]
        resources = [local.table_arn, local.index_arn]
      },
      {
        sid       = "UseKeyForResults"
        when      = var.kms_key_arn != null
        actions   = ["kms:Decrypt"]
        resources = [var.kms_key_arn]
        condition = {
          StringEquals = {
            "kms:ViaService" = ["dynamodb.${local.region}.amazonaws.com", "s3.${local.region}.amazonaws.com"]
          }
        }
      },
    ]

    # To give orders. Who may invoke the function may give them.
    operate = [
      {
        sid       = "GiveOrders"
        actions   = ["lambda:InvokeFunction"]
        resources = [local.function_arns["operate_queue"]]
      },
      # What bedrock-batch doctor looks at. It changes nothing.
      { sid = "SeeNotification", actions = ["s3:GetBucketNotification"], resources = [local.bucket_arn] },
      {
        sid       = "SeeRules"
        actions   = ["events:DescribeRule", "events:ListTargetsByRule"]
        resources = local.rule_arns
      },
      {
        sid       = "SeeFunctions"
        actions   = ["lambda:GetFunctionConfiguration"]
        resources = values(local.function_arns)
      },
      { sid = "SeeDeadLetters", actions = ["sqs:GetQueueAttributes"], resources = [local.queue_arn] },
      {
        sid       = "SeeKey"
        when      = var.kms_key_arn != null
        actions   = ["kms:DescribeKey"]
        resources = [var.kms_key_arn]
      },
      # What is public of any model, so that the policy does not grow with the routes: a parameter takes 4 KB.
      {
        sid       = "SeeModels"
        actions   = ["bedrock:GetFoundationModel"]
        resources = ["arn:${local.partition}:bedrock:${local.region}::foundation-model/*"]
      },
      {
        sid       = "SeeQuotas"
        actions   = ["servicequotas:GetServiceQuota", "servicequotas:ListServiceQuotas"]
        resources = ["*"]
      },
    ]
  }
}
