# Given a queue on what the same configuration makes, a change there replaces nothing of the queue.

mock_provider "aws" {
  source = "./tests/terraform/mocks"
}

run "applied" {
  module {
    source = "./tests/terraform/owner"
  }

  variables {
    tags = { Team = "a" }
  }

  assert {
    condition     = output.queue.bucket_arn == "arn:aws:s3:::team-files" && output.queue.input_uri == "s3://team-files/to-process/"
    error_message = "The queue is on the bucket."
  }

  assert {
    condition     = output.queue.roles.bedrock == { name = "mock", arn = "arn:aws:iam::123456789012:role/mock" }
    error_message = "The jobs get the role, whose ARN was unknown when the apply was planned."
  }
}

run "tags_changed" {
  command = plan

  module {
    source = "./tests/terraform/owner"
  }

  variables {
    tags = { Team = "b" }
  }

  assert {
    condition     = output.queue.bucket_arn == "arn:aws:s3:::team-files" && output.queue.bucket_name == "team-files"
    error_message = "The bucket's ARN, the source of S3's permission, stays known."
  }
}
