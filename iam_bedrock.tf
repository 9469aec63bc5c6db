# The service role that Bedrock uses to read inputs and write results, unless one is given; and the ARNs of the models
# that it and the functions may use.

locals {
  bedrock_role_arn  = var.role_arn == null ? aws_iam_role.bedrock[0].arn : var.role_arn
  bedrock_role_name = var.role_arn == null ? aws_iam_role.bedrock[0].name : reverse(split("/", var.role_arn))[0]

  bedrock_arn = "arn:${local.partition}:bedrock:${local.region}:${local.account_id}"

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
      startswith(id, "arn:") ? id : "${local.bedrock_arn}:inference-profile/${id}",
      join("/", [
        "arn:${local.partition}:bedrock:*::foundation-model",
        model.application_profile ? "*" : replace(reverse(split("/", id))[0], "/${local.geography}/", ""),
      ]),
    ] if model.system_profile || model.application_profile
  }
  model_arns = {
    for id in keys(local.models) : id => lookup(local.profile_arns, id, [
      startswith(id, "arn:") ? id : "arn:${local.partition}:bedrock:${local.region}::foundation-model/${id}",
    ])
  }

  on_demand_arns = distinct(flatten([
    for route in local.routes : local.model_arns[route.model_id] if route.undersized == "on_demand"
  ]))
  media = anytrue([for route in local.routes : route.media])

  ec2_arn        = "arn:${local.partition}:ec2:${local.region}:${local.account_id}"
  interface_arns = "${local.ec2_arn}:network-interface/*"
  subnet_arns    = [for id in try(var.job_vpc.subnet_ids, []) : "${local.ec2_arn}:subnet/${id}"]
  group_arns     = [for id in try(var.job_vpc.security_group_ids, []) : "${local.ec2_arn}:security-group/${id}"]

  bedrock_statements = {
    bedrock = concat(
      [
        {
          sid       = "ReadStagedInputs"
          actions   = ["s3:GetObject"]
          resources = ["${local.work_arn}*/in/*"]
        },
        # Not narrowed to a prefix: which prefixes Bedrock lists when it checks a job is not documented.
        {
          sid       = "ListBucket"
          actions   = ["s3:ListBucket"]
          resources = [local.bucket_arn]
          condition = { StringEquals = { "aws:ResourceAccount" = [local.account_id] } }
        },
        {
          sid       = "WriteOutputs"
          actions   = ["s3:PutObject"]
          resources = ["${local.work_arn}*/out/*"]
        },
      ],
      [
        for statement in [{
          sid       = "UseKeyForFiles"
          actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
          resources = [var.kms_key_arn]
          condition = { StringEquals = { "kms:ViaService" = ["s3.${local.region}.amazonaws.com"] } }
        }] : statement if var.kms_key_arn != null
      ],
      [
        for statement in [{
          sid       = "InvokeThroughInferenceProfiles"
          actions   = ["bedrock:InvokeModel"]
          resources = distinct(flatten(values(local.profile_arns)))
        }] : statement if length(local.profile_arns) > 0
      ],
      # As in Amazon Bedrock's user guide under "Protect batch inference jobs using a VPC".
      [
        for statement in [
          {
            sid = "DescribeNetwork"
            actions = [
              for what in ["DhcpOptions", "NetworkInterfaces", "SecurityGroups", "Subnets", "Vpcs"] :
              "ec2:Describe${what}"
            ]
            resources = ["*"]
          },
          {
            sid       = "CreateTaggedNetworkInterfaces"
            actions   = ["ec2:CreateNetworkInterface"]
            resources = [local.interface_arns]
            condition = {
              StringEquals = { "aws:RequestTag/BedrockManaged" = ["true"] }
              ArnEquals    = { "aws:RequestTag/BedrockModelInvocationJobArn" = [local.job_arns] }
            }
          },
          # Separate from the interface, because a subnet and a security group carry no request tags.
          {
            sid       = "CreateNetworkInterfacesInSubnets"
            actions   = ["ec2:CreateNetworkInterface"]
            resources = concat(local.subnet_arns, local.group_arns)
          },
          {
            sid = "ManageOwnNetworkInterfaces"
            actions = [
              "ec2:CreateNetworkInterfacePermission",
              "ec2:DeleteNetworkInterface",
              "ec2:DeleteNetworkInterfacePermission",
            ]
            resources = ["*"]
            condition = {
              StringEquals = { "ec2:Subnet" = local.subnet_arns }
              ArnEquals    = { "ec2:ResourceTag/BedrockModelInvocationJobArn" = [local.job_arns] }
            }
          },
          {
            sid       = "TagNewNetworkInterfaces"
            actions   = ["ec2:CreateTags"]
            resources = [local.interface_arns]
            condition = {
              StringEquals                = { "ec2:CreateAction" = ["CreateNetworkInterface"] }
              "ForAllValues:StringEquals" = { "aws:TagKeys" = ["BedrockManaged", "BedrockModelInvocationJobArn"] }
            }
          },
        ] : statement if var.job_vpc != null
      ],
    )
  }
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

resource "aws_iam_role_policy" "bedrock" {
  count = var.role_arn == null ? 1 : 0

  name   = "batch-inference"
  role   = aws_iam_role.bedrock[0].name
  policy = data.aws_iam_policy_document.role["bedrock"].json
}
