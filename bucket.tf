# The bucket: uploads, results and the work area; its own or one that exists.

locals {
  # From the name, because Terraform does not read the data source while a change to the bucket is pending.
  bucket_name = var.create_bucket ? aws_s3_bucket.this[0].bucket : var.bucket_name
  bucket_arn  = "arn:${local.partition}:s3:::${local.bucket_name}"

  bucket_owner = var.bucket_owner == null ? local.account_id : var.bucket_owner

  # An upload that was overwritten still waits in the queue as the version that it was.
  old_version_days = max(30, var.work_retention_days)

  retention = [
    { id = "uploads", prefix = var.input_prefix, days = var.uploads_retention_days },
    { id = "results", prefix = var.output_prefix, days = var.results_retention_days },
  ]
}

resource "aws_s3_bucket" "this" {
  count = var.create_bucket ? 1 : 0

  bucket        = var.bucket_name == null ? "${var.name}-${local.account_id}-${local.region}" : var.bucket_name
  force_destroy = var.force_destroy
  tags          = local.tags
}

# The bucket must exist, and in this Region.
data "aws_s3_bucket" "existing" {
  count = var.create_bucket ? 0 : 1

  bucket = var.bucket_name

  lifecycle {
    # Provider 6 has the bucket's Region as bucket_region, and as region that of the request; provider 5 has region alone.
    # local.current, because a condition on a resource that is still to be created would put the reading off too.
    postcondition {
      condition     = lookup(self, "bucket_region", self.region) == local.current.region
      error_message = "The bucket ${self.bucket} is in ${lookup(self, "bucket_region", self.region)}, but S3 can only notify functions of its own Region, here ${local.current.region}: write the name of a bucket in ${local.current.region}, or set the provider's Region to ${lookup(self, "bucket_region", self.region)}."
    }
  }
}

resource "aws_s3_bucket_versioning" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].bucket

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].bucket

  rule {
    bucket_key_enabled = var.kms_key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_ownership_controls" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].bucket

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  count = var.create_bucket ? 1 : 0

  bucket                  = aws_s3_bucket.this[0].bucket
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

data "aws_iam_policy_document" "bucket" {
  count = var.create_bucket ? 1 : 0

  source_policy_documents = var.bucket_policy_documents

  statement {
    sid       = "DenyWithoutTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [local.bucket_arn, "${local.bucket_arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].bucket
  policy = data.aws_iam_policy_document.bucket[0].json

  # S3 refuses to change the policy and the public access block of a bucket at the same time.
  depends_on = [aws_s3_bucket_public_access_block.this]
}

# In the work area, no current object expires by age, except how far a large upload was read: parts of a result wait
# there until the last record has run. collect_results deletes what nothing reads any more.
resource "aws_s3_bucket_lifecycle_configuration" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].bucket

  rule {
    id     = "work-area"
    status = "Enabled"

    filter {
      prefix = var.work_prefix
    }

    noncurrent_version_expiration {
      noncurrent_days = var.work_retention_days
    }
  }

  rule {
    id     = "reading"
    status = "Enabled"

    filter {
      prefix = "${var.work_prefix}reading/"
    }

    expiration {
      days = 14
    }
  }

  rule {
    id     = "unfinished-results"
    status = "Enabled"

    filter {
      prefix = var.output_prefix
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  rule {
    id     = "old-versions"
    status = "Enabled"

    filter {}

    expiration {
      expired_object_delete_marker = true
    }

    noncurrent_version_expiration {
      noncurrent_days = local.old_version_days
    }

    abort_incomplete_multipart_upload {
      # A Bedrock job, which writes its output, can run for seven days.
      days_after_initiation = 8
    }
  }

  # What expires becomes a noncurrent version, which the rule above deletes.
  dynamic "rule" {
    for_each = [for rule in local.retention : rule if rule.days != null]

    content {
      id     = rule.value.id
      status = "Enabled"

      filter {
        prefix = rule.value.prefix
      }

      expiration {
        days = rule.value.days
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

locals {
  notification = {
    id                  = "${var.name}-uploads"
    lambda_function_arn = aws_lambda_function.this["create_batch_queue"].arn
    events              = ["s3:ObjectCreated:*"]
    filter_prefix       = var.input_prefix
    filter_suffix       = ".jsonl"
  }
}

# The bucket's whole notification configuration, which replaces what others have set.
resource "aws_s3_bucket_notification" "this" {
  count = coalesce(var.manage_bucket_notification, var.create_bucket) ? 1 : 0

  bucket      = local.bucket_name
  eventbridge = var.eventbridge_notifications

  lambda_function {
    id                  = local.notification.id
    lambda_function_arn = local.notification.lambda_function_arn
    events              = local.notification.events
    filter_prefix       = local.notification.filter_prefix
    filter_suffix       = local.notification.filter_suffix
  }

  # Until versioning is enabled, an upload has no version ID that identifies it.
  depends_on = [aws_lambda_permission.bucket, aws_s3_bucket_versioning.this]
}
