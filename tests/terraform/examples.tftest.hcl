# Given the examples as they stand, each one can be planned.

mock_provider "aws" {
  source          = "./tests/terraform/mocks"
  override_during = plan
}

run "basic" {
  command = plan

  module {
    source = "./examples/basic"
  }

  assert {
    condition     = output.input_uri == "s3://br-batch-inference-123456789012-us-east-1/to-process/"
    error_message = "The example says where to upload."
  }
}

run "complete" {
  command = plan

  module {
    source = "./examples/complete"
  }

  variables {
    lambda_layers = ["arn:aws:lambda:us-east-1:123456789012:layer:boto3:3"]
    quota_code    = "L-1A2B3C4D"
  }

  assert {
    condition     = output.input_uri == "s3://br-complete-files-123456789012-us-east-1/inbox/"
    error_message = "The example says where to upload."
  }

  assert {
    condition     = output.functions.process_batch_jobs.name == "br-complete-process-batch-jobs-us-east-1"
    error_message = "The example passes the functions on."
  }
}

run "complete_in_a_vpc_without_internet" {
  command = plan

  module {
    source = "./examples/complete"
  }

  assert {
    condition     = toset(concat(keys(aws_vpc_endpoint.gateway), keys(aws_vpc_endpoint.interface))) == toset(["bedrock", "bedrock-runtime", "dynamodb", "events", "lambda", "s3", "sns"])
    error_message = "There is an endpoint for each service that functions and jobs call, and no other."
  }

  assert {
    condition = alltrue([
      for rule in concat(values(aws_vpc_security_group_egress_rule.gateway), [aws_vpc_security_group_egress_rule.endpoint]) :
      rule.cidr_ipv4 == null && rule.cidr_ipv6 == null && rule.from_port == 443 && rule.to_port == 443
    ])
    error_message = "Functions and jobs reach nothing but the endpoints."
  }

  assert {
    condition = alltrue([
      for document in data.aws_iam_policy_document.endpoint : alltrue([
        for statement in document.statement : { for condition in statement.condition : condition.variable => one(condition.values) } == { "aws:PrincipalAccount" = "123456789012" }
      ])
    ])
    error_message = "An endpoint is for principals of the account only."
  }
}

run "kms" {
  command = plan

  module {
    source = "./examples/kms"
  }

  override_resource {
    target          = module.key.aws_kms_key.this
    values          = { arn = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab" }
    override_during = plan
  }

  assert {
    condition     = output.kms_key_arn == "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    error_message = "The example names the key."
  }
}

run "key" {
  command = plan

  module {
    source = "./modules/kms-key"
  }

  variables {
    name = "br-kms"
  }

  assert {
    condition = { for statement in data.aws_iam_policy_document.key.statement : statement.sid => one(one(statement.principals).identifiers) } == {
      AllowIamOfThisAccount = "arn:aws:iam::123456789012:root"
      AllowLogs             = "logs.us-east-1.amazonaws.com"
      AllowRules            = "events.amazonaws.com"
      AllowAlarms           = "cloudwatch.amazonaws.com"
    }
    error_message = "Beside the account's IAM the key lets in CloudWatch Logs, EventBridge and CloudWatch, and nobody else."
  }

  assert {
    condition = {
      for statement in data.aws_iam_policy_document.key.statement : statement.sid => {
        for condition in statement.condition : condition.variable => one(condition.values)
      } if statement.sid != "AllowIamOfThisAccount"
      } == {
      AllowLogs   = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/br-kms-*" }
      AllowRules  = { "kms:EncryptionContext:aws:sqs:arn" = "arn:aws:sqs:us-east-1:123456789012:${run.kms.dead_letter_queue.name}" }
      AllowAlarms = { "aws:SourceAccount" = "123456789012" }
    }
    error_message = "Each service uses the key for this queue's things only."
  }
}

run "key_with_a_name_that_no_queue_has" {
  command = plan

  module {
    source = "./modules/kms-key"
  }

  variables {
    name = "br_kms"
  }

  expect_failures = [var.name]
}

run "complete_without_quota" {
  command = plan

  module {
    source = "./examples/complete"
  }

  assert {
    condition     = output.table_name == "br-complete-queue"
    error_message = "The example needs no quota_code."
  }
}

run "existing_bucket" {
  command = plan

  module {
    source = "./examples/existing-bucket"
  }

  override_data {
    target = module.batch_inference.data.aws_s3_bucket.existing[0]
    values = { bucket = "br-team-files-123456789012-us-east-1", arn = "arn:aws:s3:::team-files", region = "us-east-1" }
  }

  assert {
    condition     = output.input_uri == "s3://br-team-files-123456789012-us-east-1/batch/in/"
    error_message = "The example says where to upload."
  }
}
