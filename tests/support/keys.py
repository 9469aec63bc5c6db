"""Keys that are hard to handle."""

import re

# Service model of bedrock, shape S3Uri.
S3_URI = re.compile(r"s3://[a-z0-9][\.\-a-z0-9]{1,61}[a-z0-9](/[a-zA-Z0-9\!\-_\.\*'\(\)/]*)?")
