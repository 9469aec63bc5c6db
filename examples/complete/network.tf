# A network without a way to the internet: what functions and jobs need is reached through endpoints.

data "aws_availability_zones" "available" {
  state = "available"
}

resource "aws_vpc" "this" {
  cidr_block           = "10.20.0.0/24"
  enable_dns_hostnames = true
  enable_dns_support   = true
  tags                 = merge(local.tags, { Name = local.name })
}

resource "aws_subnet" "this" {
  count = 2

  vpc_id            = aws_vpc.this.id
  availability_zone = data.aws_availability_zones.available.names[count.index]
  cidr_block        = cidrsubnet(aws_vpc.this.cidr_block, 2, count.index)
  tags              = merge(local.tags, { Name = "${local.name}-${count.index}" })

  lifecycle {
    ignore_changes = [availability_zone]
  }
}

# What has no security group of its own reaches nothing.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id
  tags   = merge(local.tags, { Name = "${local.name}-default" })
}

resource "aws_route_table" "this" {
  vpc_id = aws_vpc.this.id
  tags   = merge(local.tags, { Name = local.name })
}

resource "aws_route_table_association" "this" {
  count = 2

  subnet_id      = aws_subnet.this[count.index].id
  route_table_id = aws_route_table.this.id
}

resource "aws_security_group" "client" {
  name        = "${local.name}-client"
  description = "Functions and Bedrock jobs of ${local.name}"
  vpc_id      = aws_vpc.this.id
  tags        = merge(local.tags, { Name = "${local.name}-client" })
}

resource "aws_security_group" "endpoint" {
  name        = "${local.name}-endpoint"
  description = "Endpoints of ${local.name}"
  vpc_id      = aws_vpc.this.id
  tags        = merge(local.tags, { Name = "${local.name}-endpoint" })
}

# S3 and DynamoDB keep their public addresses, which the prefix lists of the gateway endpoints hold.
resource "aws_vpc_security_group_egress_rule" "gateway" {
  for_each = aws_vpc_endpoint.gateway

  security_group_id = aws_security_group.client.id
  description       = "HTTPS to ${each.key}"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  prefix_list_id    = each.value.prefix_list_id
}

resource "aws_vpc_security_group_egress_rule" "endpoint" {
  security_group_id            = aws_security_group.client.id
  description                  = "HTTPS to the interface endpoints"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.endpoint.id
}

resource "aws_vpc_security_group_ingress_rule" "endpoint" {
  security_group_id            = aws_security_group.endpoint.id
  description                  = "HTTPS from functions and jobs"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.client.id
}

resource "aws_vpc_endpoint" "gateway" {
  for_each = toset(["dynamodb", "s3"])

  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${local.region}.${each.key}"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.this.id]
  policy            = data.aws_iam_policy_document.endpoint[each.key].json
  tags              = merge(local.tags, { Name = "${local.name}-${each.key}" })
}

resource "aws_vpc_endpoint" "interface" {
  for_each = toset(["bedrock", "bedrock-runtime", "events", "lambda", "sns"]) # the runtime for the route that is on_demand

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = aws_subnet.this[*].id
  security_group_ids  = [aws_security_group.endpoint.id]
  policy              = data.aws_iam_policy_document.endpoint[each.key].json
  tags                = merge(local.tags, { Name = "${local.name}-${each.key}" })
}

# By endpoint, what may be reached through it. Built from names: the endpoints are to be there before the functions.
locals {
  endpoints = {
    s3 = {
      actions = [
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "s3:ListBucketVersions",
        "s3:PutObject",
      ]
      resources = [
        "arn:${local.partition}:s3:::${local.bucket_name}",
        "arn:${local.partition}:s3:::${local.bucket_name}/*",
      ]
    }
    dynamodb = {
      actions = [
        "dynamodb:BatchGetItem",
        "dynamodb:ConditionCheckItem",
        "dynamodb:DeleteItem",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:UpdateItem",
      ]
      resources = [
        "arn:${local.partition}:dynamodb:${local.region}:${local.account_id}:table/${local.name}-queue",
        "arn:${local.partition}:dynamodb:${local.region}:${local.account_id}:table/${local.name}-queue/index/*",
      ]
    }
    lambda = {
      actions   = ["lambda:InvokeFunction"]
      resources = ["arn:${local.partition}:lambda:${local.region}:${local.account_id}:function:${local.name}-*"]
    }
    events = {
      actions   = ["events:PutEvents"]
      resources = ["arn:${local.partition}:events:${local.region}:${local.account_id}:event-bus/${local.name}"]
    }
    sns = {
      actions   = ["sns:Publish"]
      resources = ["arn:${local.partition}:sns:${local.region}:${local.account_id}:${local.name}-uploads"]
    }
    bedrock = {
      actions = [
        "bedrock:CreateModelInvocationJob",
        "bedrock:GetModelInvocationJob",
        "bedrock:ListModelInvocationJobs",
        "bedrock:StopModelInvocationJob",
        "bedrock:TagResource",
      ]
      resources = ["*"]
    }
    bedrock-runtime = {
      actions   = ["bedrock:InvokeModel"]
      resources = ["*"]
    }
  }
}

data "aws_iam_policy_document" "endpoint" {
  for_each = local.endpoints

  statement {
    sid       = "AllowThisAccount"
    actions   = each.value.actions
    resources = each.value.resources

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [local.account_id]
    }
  }
}
