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
