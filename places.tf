# What the inputs name by an ARN must be where the queue is: AWS would refuse it only during the apply. Nothing depends on
# this resource, so that no message hides another.

resource "terraform_data" "places" {
  lifecycle {
    precondition {
      condition     = var.kms_key_arn == null || can(regex("^arn:${local.partition}:kms:${local.region}:", var.kms_key_arn))
      error_message = "kms_key_arn is ${jsonencode(var.kms_key_arn)}, but the queue is in ${local.region} (partition ${local.partition}): write the ARN of a key of this Region."
    }

    precondition {
      condition     = var.event_bus_arn == null || can(regex("^arn:${local.partition}:events:${local.region}:", var.event_bus_arn))
      error_message = "event_bus_arn is ${jsonencode(var.event_bus_arn)}, but the queue sends its events to a bus in its own Region: write the ARN of a bus in ${local.region} (partition ${local.partition}). A rule of that bus can pass them on to another Region."
    }

    precondition {
      condition     = var.notification_topic_arn == null || can(regex("^arn:${local.partition}:sns:${local.region}:", var.notification_topic_arn))
      error_message = "notification_topic_arn is ${jsonencode(var.notification_topic_arn)}, but the queue is in ${local.region} (partition ${local.partition}): write the ARN of a topic of this Region."
    }

    precondition {
      condition     = var.role_arn == null || can(regex("^arn:${local.partition}:iam::${local.account_id}:", var.role_arn))
      error_message = "role_arn is ${jsonencode(var.role_arn)}, but Bedrock takes only a role of the queue's account: write the ARN of a role of ${local.account_id}, or leave role_arn and create_role out to have a role created."
    }

    precondition {
      condition = var.permissions_boundary == null || can(
        regex("^arn:${local.partition}:iam::(${local.account_id}|aws):", var.permissions_boundary)
      )
      error_message = "permissions_boundary is ${jsonencode(var.permissions_boundary)}, but IAM takes only a policy of the roles' own account: write the ARN of a policy of ${local.account_id} or of AWS, such as arn:${local.partition}:iam::${local.account_id}:policy/my-boundary."
    }

    precondition {
      condition = alltrue([
        for arn in var.lambda_layers : startswith(arn, "arn:${local.partition}:lambda:${local.region}:")
      ])
      error_message = "lambda_layers is ${jsonencode(var.lambda_layers)}, but Lambda takes only layers of its own Region: write layer versions of ${local.region}, such as arn:${local.partition}:lambda:${local.region}:${local.account_id}:layer:boto3:1."
    }
  }
}
