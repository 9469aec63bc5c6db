# The queue on a bucket that others use too. A bucket has one notification configuration, so the one of the
# bucket's owner takes in the queue's part, and the module leaves it alone.

provider "aws" {}

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

module "batch_inference" {
  source = "../.."

  name     = "br-existing-bucket"
  model_id = "global.anthropic.claude-haiku-4-5-20251001-v1:0"

  create_bucket = false
  bucket_name   = aws_s3_bucket.team.bucket

  input_prefix  = "batch/in/"
  output_prefix = "batch/out/"
  work_prefix   = "batch/jobs/"
}

# The bucket as it was before. Versioning is what lets the queue run exactly what was uploaded.
resource "aws_s3_bucket" "team" {
  bucket = "br-team-files-${data.aws_caller_identity.current.account_id}-${data.aws_region.current.id}"
}

resource "aws_s3_bucket_versioning" "team" {
  bucket = aws_s3_bucket.team.bucket

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_public_access_block" "team" {
  bucket                  = aws_s3_bucket.team.bucket
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# A bucket also has only one lifecycle configuration: add these rules to its owner's. No rule may expire current objects
# in batch/jobs/ (except batch/jobs/reading/): parts of results wait there, and the module deletes them itself.
resource "aws_s3_bucket_lifecycle_configuration" "team" {
  bucket = aws_s3_bucket.team.bucket

  rule {
    id     = "batch-work-area"
    status = "Enabled"

    filter {
      prefix = "batch/jobs/"
    }

    noncurrent_version_expiration {
      noncurrent_days = 14
    }
  }

  rule {
    id     = "batch-reading"
    status = "Enabled"

    filter {
      prefix = "batch/jobs/reading/"
    }

    expiration {
      days = 14
    }
  }

  rule {
    id     = "unfinished-uploads"
    status = "Enabled"

    filter {}

    expiration {
      expired_object_delete_marker = true
    }

    # A Bedrock job, which writes its output, can run for seven days.
    abort_incomplete_multipart_upload {
      days_after_initiation = 8
    }
  }

  depends_on = [aws_s3_bucket_versioning.team]
}

resource "aws_sqs_queue" "reports" {
  name                    = "br-team-reports"
  sqs_managed_sse_enabled = true
}

data "aws_iam_policy_document" "reports" {
  statement {
    sid       = "AllowBucket"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.reports.arn]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_s3_bucket.team.arn]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_sqs_queue_policy" "reports" {
  queue_url = aws_sqs_queue.reports.url
  policy    = data.aws_iam_policy_document.reports.json
}

resource "aws_s3_bucket_notification" "team" {
  bucket = aws_s3_bucket.team.bucket

  # What the owner had already.
  queue {
    queue_arn     = aws_sqs_queue.reports.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "reports/"
  }

  # The queue's part.
  lambda_function {
    id                  = module.batch_inference.bucket_notification.id
    lambda_function_arn = module.batch_inference.bucket_notification.lambda_function_arn
    events              = module.batch_inference.bucket_notification.events
    filter_prefix       = module.batch_inference.bucket_notification.filter_prefix
    filter_suffix       = module.batch_inference.bucket_notification.filter_suffix
  }

  depends_on = [aws_sqs_queue_policy.reports]
}
